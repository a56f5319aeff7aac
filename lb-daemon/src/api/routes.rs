//! Which paths are there, who may use each, and what of the engine answers?

use axum::extract::{Path, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};

use super::body::{Bytes, Json, LongJson, Query};
use super::peer::Right;
use super::server::{Caller, forbidden};
use super::stream;
use super::types::{
    AddReal, AddService, AskHealth, Asked, ConnectionFilter, Diagnosis, DrainRequest, Drained,
    EditReal, EditService, FlowQuery, HealthReport, Kind, Problem, ReloadRequest,
    SimulationRequest, TimeoutsPatch,
};
use crate::engine::{self, Handle};
use crate::io::doctor;
use crate::io::health::Ended;

/// A path and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with `{}` around what varies.
    pub path: &'static str,
    /// Whether it changes something, for which not everybody has the right.
    pub writes: bool,
    /// What it does.
    pub about: &'static str,
}

type Entry = (Route, MethodRouter<Handle>);

/// Every route, with what answers.
fn entries() -> Vec<Entry> {
    let reads = |method, path, about| Route {
        method,
        path,
        writes: false,
        about,
    };
    let writes = |method, path, about| Route {
        method,
        path,
        writes: true,
        about,
    };
    vec![
        (reads("GET", "/v1", "The routes."), get(index)),
        (
            reads("GET", "/v1/status", "How the director is."),
            get(status),
        ),
        (
            reads(
                "GET",
                "/v1/services",
                "All services with their real servers.",
            ),
            get(services),
        ),
        (
            writes("POST", "/v1/services", "Add a service."),
            post(add_service),
        ),
        (
            writes("POST", "/v1/restore", "Add services, all of them or none."),
            post(restore),
        ),
        (
            reads(
                "GET",
                "/v1/services/{service}",
                "One service with its real servers.",
            ),
            get(service),
        ),
        (
            writes("PATCH", "/v1/services/{service}", "Change a service."),
            patch(edit_service),
        ),
        (
            writes("DELETE", "/v1/services/{service}", "Delete a service."),
            delete(remove_service),
        ),
        (
            writes("POST", "/v1/services/{service}/reals", "Add a real server."),
            post(add_real),
        ),
        (
            writes(
                "PATCH",
                "/v1/services/{service}/reals/{real}",
                "Change a real server.",
            ),
            patch(edit_real),
        ),
        (
            writes(
                "DELETE",
                "/v1/services/{service}/reals/{real}",
                "Remove a real server.",
            ),
            delete(remove_real),
        ),
        (
            writes(
                "POST",
                "/v1/drain",
                "Give a real server no new connections, in each service that has it.",
            ),
            post(drain),
        ),
        (writes("DELETE", "/v1/drain", "End that."), delete(undrain)),
        (
            reads(
                "GET",
                "/v1/drain",
                "What is left of a real server's connections.",
            ),
            get(remaining),
        ),
        (
            reads(
                "GET",
                "/v1/health",
                "The health of the real servers, and what their checks say.",
            ),
            get(health),
        ),
        (
            writes(
                "POST",
                "/v1/health/check",
                "Make a real server's checks now, and answer what was sent and received.",
            ),
            post(check_health),
        ),
        (
            writes(
                "POST",
                "/v1/doctor",
                "Look for everything that breaks forwarding; each real server gets a packet.",
            ),
            post(diagnose),
        ),
        (
            reads(
                "GET",
                "/v1/stats",
                "Connections, packets and bytes; how packets ended.",
            ),
            get(stats),
        ),
        (
            writes("POST", "/v1/stats/zero", "Set counters to zero."),
            post(zero),
        ),
        (
            reads(
                "GET",
                "/v1/connections",
                "Connections, as a stream of JSON lines.",
            ),
            get(connections),
        ),
        (
            reads(
                "GET",
                "/v1/timeouts",
                "How long connections are kept without a packet.",
            ),
            get(timeouts),
        ),
        (
            writes("PATCH", "/v1/timeouts", "Change these times."),
            patch(set_timeouts),
        ),
        (
            reads("GET", "/v1/explain", "Why a connection goes where it goes."),
            get(explain),
        ),
        (
            reads(
                "POST",
                "/v1/simulate",
                "What a change would make of a service's connections.",
            ),
            post(simulate),
        ),
        (
            reads("GET", "/v1/vrrp", "The virtual routers, and who is master."),
            get(vrrp),
        ),
        (
            reads(
                "GET",
                "/v1/vrrp/events",
                "Changes of state of virtual routers as they happen, as a stream of JSON lines.",
            ),
            get(vrrp_events),
        ),
        (
            writes(
                "POST",
                "/v1/vrrp/{router}/failover",
                "Leave a virtual router to another director.",
            ),
            post(failover),
        ),
        (
            reads("GET", "/v1/config", "The running configuration, as YAML."),
            get(config),
        ),
        (
            reads(
                "POST",
                "/v1/config/check",
                "Check a configuration; the body is its YAML.",
            ),
            post(check),
        ),
        (
            reads(
                "GET",
                "/v1/config/diff",
                "What a reload of the file would change.",
            ),
            get(diff),
        ),
        (
            writes(
                "POST",
                "/v1/config/save",
                "Write the running configuration to the file.",
            ),
            post(save),
        ),
        (
            writes("POST", "/v1/config/reload", "Apply the file."),
            post(reload),
        ),
        (
            writes(
                "POST",
                "/v1/detach",
                "Take everything out of the kernel and stop the daemon.",
            ),
            post(detach),
        ),
    ]
}

/// Every route.
pub fn routes() -> Vec<Route> {
    entries().into_iter().map(|(route, _)| route).collect()
}

/// The router over an engine.
pub fn router(engine: Handle) -> Router {
    let router = entries()
        .into_iter()
        .fold(Router::new(), |router, (route, answers)| {
            let answers = answers.route_layer(middleware::from_fn(move |request, next| {
                permit(route.writes, request, next)
            }));
            router.route(route.path, answers)
        });
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(engine)
}

/// Lets through who has the right.
async fn permit(writes: bool, request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(caller) if writes && caller.right < Right::Write => {
            forbidden(&caller.peer).into_response()
        }
        Some(_) => next.run(request).await,
        None => Problem::failed("nobody said who asks").into_response(),
    }
}

async fn no_route(uri: Uri) -> Problem {
    let paths: Vec<&str> = entries().iter().map(|(route, _)| route.path).collect();
    let problem = Problem::not_found(format!("there is no path {}", uri.path()));
    match crate::config::nearest::nearest(uri.path(), paths.into_iter()) {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None => problem.hint("GET /v1 lists the paths"),
    }
}

async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!("{method} is not for {}", uri.path()),
    )
    .hint("GET /v1 lists what is")
}

type Answer<T> = Result<axum::Json<T>, Problem>;

async fn ask<R: engine::Request>(engine: Handle, request: R) -> Answer<R::Answer> {
    engine.ask(request).await.map(axum::Json)
}

/// Only one service.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneService {
    service: Option<String>,
}

/// How to remove.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    #[serde(default)]
    force: bool,
}

/// What a text is called.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: Option<String>,
}

async fn index() -> axum::Json<Vec<Route>> {
    axum::Json(routes())
}

async fn status(State(engine): State<Handle>) -> impl IntoResponse {
    ask(engine, engine::ReadStatus).await
}

async fn services(State(engine): State<Handle>) -> impl IntoResponse {
    ask(engine, engine::ReadServices::default()).await
}

async fn service(State(engine): State<Handle>, Path(service): Path<String>) -> impl IntoResponse {
    let found = engine
        .ask(engine::ReadServices {
            service: Some(service),
        })
        .await?;
    let one = found.into_iter().next();
    one.map(axum::Json)
        .ok_or_else(|| Problem::not_found("the service is not there any more"))
}

async fn add_service(
    State(engine): State<Handle>,
    Json(body): Json<AddService>,
) -> impl IntoResponse {
    ask(engine, body).await
}

async fn restore(
    State(engine): State<Handle>,
    LongJson(services): LongJson<Vec<AddService>>,
) -> impl IntoResponse {
    ask(engine, engine::Restore(services)).await
}

async fn edit_service(
    State(engine): State<Handle>,
    Path(service): Path<String>,
    Json(change): Json<EditService>,
) -> impl IntoResponse {
    ask(engine, engine::EditService { service, change }).await
}

async fn remove_service(
    State(engine): State<Handle>,
    Path(service): Path<String>,
    Query(Removal { force }): Query<Removal>,
) -> impl IntoResponse {
    ask(engine, engine::RemoveService { service, force }).await
}

async fn add_real(
    State(engine): State<Handle>,
    Path(service): Path<String>,
    Json(real): Json<AddReal>,
) -> impl IntoResponse {
    ask(engine, engine::NewReal { service, real }).await
}

async fn edit_real(
    State(engine): State<Handle>,
    Path((service, real)): Path<(String, String)>,
    Json(change): Json<EditReal>,
) -> impl IntoResponse {
    ask(
        engine,
        engine::EditReal {
            service,
            real,
            change,
        },
    )
    .await
}

async fn remove_real(
    State(engine): State<Handle>,
    Path((service, real)): Path<(String, String)>,
    Query(Removal { force }): Query<Removal>,
) -> impl IntoResponse {
    ask(
        engine,
        engine::RemoveReal {
            service,
            real,
            force,
        },
    )
    .await
}

async fn drain(State(engine): State<Handle>, Json(body): Json<DrainRequest>) -> impl IntoResponse {
    left(engine, engine::Drain(body)).await
}

async fn undrain(
    State(engine): State<Handle>,
    Query(which): Query<DrainRequest>,
) -> impl IntoResponse {
    left(engine, engine::Undrain(which)).await
}

async fn remaining(
    State(engine): State<Handle>,
    Query(which): Query<DrainRequest>,
) -> impl IntoResponse {
    left(engine, engine::ReadRemaining(which)).await
}

/// What is left of connections, counted while the engine does other things.
async fn left<R>(engine: Handle, request: R) -> Answer<Vec<Drained>>
where
    R: engine::Request<Answer = engine::Remaining>,
{
    let remaining = engine.ask(request).await?;
    tokio::task::spawn_blocking(|| remaining.count())
        .await
        .map(axum::Json)
        .map_err(|err| Problem::failed("the connections could not be counted").why(err.to_string()))
}

async fn health(
    State(engine): State<Handle>,
    Query(OneService { service }): Query<OneService>,
) -> Answer<HealthReport> {
    let (checks, only) = engine.ask(engine::ReadHealth { service }).await?;
    let mut report = checks.report().await.map_err(no_checks)?;
    report
        .services
        .retain(|service| only.as_ref().is_none_or(|name| *name == service.name));
    Ok(axum::Json(report))
}

async fn check_health(
    State(engine): State<Handle>,
    Json(body): Json<AskHealth>,
) -> Answer<Vec<Asked>> {
    let (checks, reals) = engine.ask(engine::FindChecks(body)).await?;
    let mut answers = Vec::new();
    for (service, real) in reals {
        answers.extend(checks.ask(real, Some(service)).await.map_err(no_checks)?);
    }
    Ok(axum::Json(answers))
}

async fn diagnose(State(engine): State<Handle>) -> Answer<Diagnosis> {
    let case = engine.ask(engine::Examine).await?;
    let facts = doctor::gather(case).await.map_err(|err| not_looked(&err))?;
    Ok(axum::Json(Diagnosis::of(&facts)))
}

fn not_looked(err: &std::io::Error) -> Problem {
    Problem::failed("nothing could be looked at").why(err.to_string())
}

fn no_checks(ended: Ended) -> Problem {
    engine::problem("cannot ask the health checks", &ended)
}

async fn stats(
    State(engine): State<Handle>,
    Query(OneService { service }): Query<OneService>,
) -> impl IntoResponse {
    ask(engine, engine::ReadStats { service }).await
}

async fn zero(
    State(engine): State<Handle>,
    Query(OneService { service }): Query<OneService>,
) -> impl IntoResponse {
    ask(engine, engine::Zero { service }).await
}

async fn connections(
    State(engine): State<Handle>,
    Extension(caller): Extension<Caller>,
    Query(filter): Query<ConnectionFilter>,
) -> Result<Response, Problem> {
    let found = engine.ask(engine::Connections(filter)).await?;
    Ok(stream::lines(found, caller))
}

async fn timeouts(State(engine): State<Handle>) -> impl IntoResponse {
    ask(engine, engine::ReadTimeouts).await
}

async fn set_timeouts(
    State(engine): State<Handle>,
    Json(patch): Json<TimeoutsPatch>,
) -> impl IntoResponse {
    ask(engine, patch).await
}

async fn explain(State(engine): State<Handle>, Query(flow): Query<FlowQuery>) -> impl IntoResponse {
    ask(engine, engine::Explain(flow)).await
}

async fn simulate(
    State(engine): State<Handle>,
    Json(change): Json<SimulationRequest>,
) -> impl IntoResponse {
    ask(engine, engine::Simulate(change)).await
}

async fn vrrp(State(engine): State<Handle>) -> impl IntoResponse {
    ask(engine, engine::ReadVrrp).await
}

async fn vrrp_events(
    State(engine): State<Handle>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let events = engine.ask(engine::FollowVrrp).await?;
    Ok(stream::live(events, caller))
}

async fn failover(State(engine): State<Handle>, Path(router): Path<String>) -> impl IntoResponse {
    ask(engine, engine::Failover { router }).await
}

async fn config(State(engine): State<Handle>) -> Result<Response, Problem> {
    let text = engine.ask(engine::Text).await?;
    Ok(([("content-type", "application/yaml")], text).into_response())
}

async fn check(
    State(engine): State<Handle>,
    Query(Named { name }): Query<Named>,
    Bytes(text): Bytes,
) -> impl IntoResponse {
    ask(
        engine,
        engine::Check {
            name: name.unwrap_or_else(|| "the text".to_owned()),
            text,
        },
    )
    .await
}

async fn diff(State(engine): State<Handle>) -> impl IntoResponse {
    ask(engine, engine::Diff).await
}

async fn save(State(engine): State<Handle>) -> impl IntoResponse {
    ask(engine, engine::Save).await
}

async fn reload(
    State(engine): State<Handle>,
    Json(body): Json<ReloadRequest>,
) -> impl IntoResponse {
    ask(engine, engine::Reload(body)).await
}

async fn detach(State(engine): State<Handle>) -> impl IntoResponse {
    ask(engine, engine::Detach).await
}
