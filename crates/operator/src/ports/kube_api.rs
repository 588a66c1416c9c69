//! The API server itself.

use std::fmt::{self, Debug};
use std::sync::Arc;

use futures::future::BoxFuture;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Config, Error};
use rolecall_api::names::FIELD_MANAGER;
use rolecall_engine::kill_point;
use serde_json::Value;

use super::{Address, ApiServer, Published, Write};
use crate::api_client::{self, ManyRequests, post_params};
use crate::clock_skew::ClockSkew;

/// See the module.
pub struct KubeApi {
    requests: ManyRequests,
    recorder: Recorder,
}

impl KubeApi {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When `config` is not usable.
    pub fn new(config: Config, skew: &Arc<ClockSkew>) -> kube::Result<Self> {
        let recorder = Recorder::new(api_client::client(&config, skew)?, Reporter::from(FIELD_MANAGER));
        Ok(Self { requests: ManyRequests::new(config, skew)?, recorder })
    }

    async fn ask(&self, request: http::Request<Vec<u8>>) -> kube::Result<String> {
        self.requests.ask(async |client| client.request_text(request).await).await
    }
}

impl ApiServer for KubeApi {
    fn get<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, kube::Result<String>> {
        let request = Request::new(&at.collection).get(&at.name, &GetParams::default());
        Box::pin(async { self.ask(request.map_err(Error::BuildRequest)?).await })
    }

    fn write<'a>(&'a self, at: &'a Address, write: Write) -> BoxFuture<'a, kube::Result<String>> {
        let kind = format!("{write:?}");
        let request = request(at, write);
        Box::pin(async move {
            let what = format!("{kind} {}", at.collection.rsplit('/').next().unwrap_or_default());
            kill_point::reached("api.writes", &what);
            let written = self.ask(request?).await;
            kill_point::reached("api.written", &what);
            written
        })
    }

    fn publish<'a>(&'a self, Published { event, about }: &'a Published) -> BoxFuture<'a, kube::Result<()>> {
        Box::pin(api_client::bounded(api_client::PATIENCE, self.recorder.publish(event, about)))
    }
}

fn request(at: &Address, write: Write) -> kube::Result<http::Request<Vec<u8>>> {
    let (request, name) = (Request::new(&at.collection), &at.name);
    let text = |object: &Value| serde_json::to_vec(object).map_err(Error::SerdeError);
    let request = match write {
        Write::Create(object) => request.create(&post_params(), text(&object)?),
        Write::Replace(object) => request.replace(name, &post_params(), text(&object)?),
        Write::ApplyStatus(object) => {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            request.patch_subresource("status", name, &params, &Patch::Apply(object))
        }
        Write::Merge(patch) => {
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            request.patch(name, &params, &Patch::Merge(patch))
        }
        Write::Delete { uid } => {
            let preconditions = Some(Preconditions { uid, ..Preconditions::default() });
            request.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() })
        }
    };
    request.map_err(Error::BuildRequest)
}

impl Debug for KubeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubeApi")
    }
}
