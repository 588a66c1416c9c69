//! The API server.

use std::fmt::Debug;

use anyhow::{Context, bail};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::api::{ListParams, PostParams};
use kube::client::ClientBuilder;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tower::util::MapFutureLayer;

use super::failure::{Patience, plain};
use super::namespace::listed;
use super::{Namespace, kubeconfig};
use crate::args::Global;

/// Objects per request of a list.
const PAGE: u32 = 500;

/// The API server of a context, and the namespace to work in.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    patience: Patience,
}

impl Cluster {
    /// Finds the API server as kubectl does.
    ///
    /// # Errors
    ///
    /// A kubeconfig that cannot be read, or that lacks the context.
    pub async fn connect(global: &Global) -> anyhow::Result<Self> {
        let mut config = kubeconfig::config(global).await?;
        // The caller, as the audit log of the API server names it.
        let name = concat!("kubectl-rolecall/", env!("CARGO_PKG_VERSION"));
        config.headers.push(("user-agent".parse()?, name.parse()?));
        let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let url = config.cluster_url.to_string();
        let builder =
            ClientBuilder::try_from(config).context("preparing the connection to the API server")?;
        let patience = Patience::new(&url);
        let patient = patience.clone();
        let layer = MapFutureLayer::new(move |answer| patient.clone().answer(answer));
        Ok(Self { client: builder.with_layer(&layer).build(), namespace, patience })
    }

    /// The namespace to work in.
    pub fn namespace_name(&self) -> &str {
        &self.namespace
    }

    /// From now on the caller says itself when the API server does not answer.
    pub(crate) fn keep_quiet(&self) {
        self.patience.keep_quiet();
    }

    /// The client that asks it.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The objects of one kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The objects of one kind in all namespaces.
    pub fn everywhere<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Everything of the namespace that decides.
    ///
    /// # Errors
    ///
    /// An API server that does not answer, or not with these objects.
    pub async fn namespace(&self) -> anyhow::Result<Namespace> {
        let (admins, roles, users, rules) =
            futures::join!(list(self.api()), list(self.api()), list(self.api()), list(self.api()));
        // Of several errors it is the same one each time.
        let namespace = Namespace {
            name: Some(self.namespace.clone()),
            cluster_name: String::new(),
            admins: admins?,
            roles: roles?,
            users: users?,
            rules: rules?,
        };
        Ok(namespace.without_deleted())
    }

    /// Who the API server takes the caller for.
    ///
    /// # Errors
    ///
    /// An API server that does not answer.
    pub async fn whoami(&self) -> anyhow::Result<String> {
        let review =
            self.review().await.context("asking the API server who you are; name the user with --user")?;
        let name = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
        name.context("the API server does not say who you are; name the user with --user")
    }

    /// Whom the API server takes the caller for: name and groups.
    ///
    /// # Errors
    ///
    /// An API server that does not answer, or does not say.
    pub async fn user_info(&self) -> anyhow::Result<UserInfo> {
        let review = self.review().await.context("asking the API server who you are")?;
        let user = review.status.and_then(|status| status.user_info);
        user.filter(|user| user.username.is_some()).context("the API server does not say who you are")
    }

    /// The API server's clock, to the second; `None` where it does not say.
    ///
    /// # Errors
    ///
    /// An API server that does not answer.
    pub async fn clock(&self) -> anyhow::Result<Option<jiff::Timestamp>> {
        let review = self.review().await.context("asking the API server for the time")?;
        Ok(review.metadata.creation_timestamp.map(|time| time.0))
    }

    async fn review(&self) -> anyhow::Result<SelfSubjectReview> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &SelfSubjectReview::default()).await.map_err(plain)
    }
}

/// The DatabaseUser to act for where none is named: the one that names the caller.
///
/// # Errors
///
/// None does, or several do.
pub async fn own_user(cluster: &Cluster, namespace: &Namespace) -> anyhow::Result<String> {
    let me = cluster.whoami().await?;
    namespace.user_for(&me).map(ResourceExt::name_any)
}

/// The object of that name; where there is none, the message names the existing ones.
///
/// # Errors
///
/// What the API server answers.
pub(crate) async fn get<K>(cluster: &Cluster, name: &str) -> anyhow::Result<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = cluster.api();
    let kind = K::kind(&());
    let found =
        api.get_opt(name).await.map_err(plain).with_context(|| format!("reading the {kind} {name:?}"))?;
    if let Some(found) = found {
        return Ok(found);
    }
    // A user who may not list them still learns of the missing one.
    let known = list(api).await.map(|objects| {
        let names = objects.iter().map(ResourceExt::name_any).collect();
        format!("; {}", listed(name, names))
    });
    let namespace = cluster.namespace_name();
    let elsewhere = elsewhere::<K>(cluster, name).await;
    bail!("there is no {kind} {name:?} in namespace {namespace}{}{elsewhere}", known.unwrap_or_default())
}

/// In which other namespaces objects of that name are, for the end of a message that it is missing here. Nothing, where
/// there are none, or the caller may not see them.
pub(crate) async fn elsewhere<K>(cluster: &Cluster, name: &str) -> String
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let called = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = cluster.everywhere::<K>().list(&called).await;
    let namespaces: Vec<String> =
        found.into_iter().flat_map(|list| list.items).filter_map(|object| object.namespace()).collect();
    match namespaces.as_slice() {
        [] => String::new(),
        [one] => format!("; it is in the namespace {one}: add -n {one}"),
        several => format!("; the namespaces {} have one each: say which with -n", several.join(", ")),
    }
}

/// All objects of a kind, page by page.
///
/// # Errors
///
/// What the API server answers, naming the kind.
pub(crate) async fn list<K>(api: Api<K>) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut objects = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let kind = K::plural(&());
        let list = api.list(&page).await.map_err(plain).with_context(|| format!("listing {kind}"))?;
        objects.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(objects),
        }
    }
}
