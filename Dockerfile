# The image of the operator: one static program, and the authorities that certificates of servers are checked with.
#
#     docker build --tag rolecall/rolecall-operator:0.1.0 .
#     docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/rolecall/rolecall-operator:0.1.0 --push .
#
# Each platform is built on itself, emulated where it has to be. Two builds of one commit are the same image with
# SOURCE_DATE_EPOCH=0 and `--output type=registry,rewrite-timestamp=true`.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates cmake musl-tools
WORKDIR /source
COPY . .
# `--build-arg ROLECALL_PROFILE=dev` builds in a quarter of the time, for a try.
ARG ROLECALL_PROFILE=release
RUN deploy/image/root.sh /image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/rolecall-operator"]
