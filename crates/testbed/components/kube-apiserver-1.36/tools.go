//go:build tools

// Names the Kubernetes program that the testbed builds, so that go.mod and go.sum lock
// everything it needs.
package kubernetes

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
