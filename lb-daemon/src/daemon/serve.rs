//! Being the director's daemon, from the first look at the machine to the last word to systemd.

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::End;
use super::logging;
use super::options::Options;
use super::systemd::{self, Watchdog};
use crate::api::peer::Access;
use crate::api::routes::router;
use crate::api::server::{self, Limits};
use crate::api::socket::ControlSocket;
use crate::api::types::{Problem, ReloadRequest};
use crate::config::Model;
use crate::config::model::Api;
use crate::engine::{Engine, Handle, Places, Reload, begin, interfaces, problem, run};
use crate::io::bpf::{self, Capacity, Dataplane};
use crate::io::health::Checks;
use crate::io::net::{Net, Settings};
use crate::io::preflight;
use crate::io::store::Store;
use crate::stop::{self, Stopper};

/// Serves until told to stop, or until everything is detached.
pub(super) fn serve(options: &Options) -> Result<End, Problem> {
    logging::start(&options.filter())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|err| Problem::failed("cannot start").why(err.to_string()))?;
    let served = runtime.block_on(director(options));
    // A listing that somebody is still reading keeps nobody waiting.
    runtime.shutdown_background();
    served
}

async fn director(options: &Options) -> Result<End, Problem> {
    // From the beginning: who has the file read anew while we start does not end us, and is heard later.
    let hangup = signal(SignalKind::hangup())
        .map_err(|err| Problem::failed("cannot follow signals").why(err.to_string()))?;
    preflight::capabilities().map_err(|err| problem("cannot be a director", &err))?;
    let (network, events) = Net::start(Settings::default())
        .await
        .map_err(|err| problem("cannot follow the network", &err))?;
    let store =
        Store::open(&options.state_dir).map_err(|err| problem("cannot keep a state", &err))?;
    let beginning = begin(Some(&store), &options.config, Some(&network)).await?;
    for warning in &beginning.warnings {
        warn!("{warning}");
    }
    let access = access(&beginning.model.api)?;
    let (listener, socket) = ControlSocket::bind(&options.socket, &access)
        .map_err(|err| problem("cannot make the control socket", &err))?;
    let listener = UnixListener::from_std(listener)
        .map_err(|err| problem("cannot listen on the control socket", &err))?;

    let on = interfaces(&network, &beginning.model).await;
    let plane = bpf_options(options, &beginning.model, on);
    let mut plane = tokio::task::block_in_place(|| Dataplane::start(&plane))?;
    if let Some(packets) = plane.take_packets() {
        packets
            .follow()
            .map_err(|err| Problem::failed("cannot log packets").why(err.to_string()))?;
    }
    let places = Places {
        config: options.config.clone(),
        socket: socket.path().to_owned(),
        pins: options.pin_dir.clone(),
    };
    let checks = Checks::start(Some(network.clone()), store.clone())
        .map_err(|err| problem("cannot check the real servers", &err))?;
    let mut engine = Engine::new(
        beginning,
        Box::new(plane),
        Box::new(network),
        checks.clone(),
        store,
        places,
        options.replace,
    );
    engine.settle().await?;

    let (handle, jobs) = Handle::new();
    let (stopper, stop) = stop::channel();
    let api = tokio::spawn(server::serve(
        listener,
        router(handle.clone()),
        access,
        Limits::default(),
        stop.clone(),
    ));
    let signals = tokio::spawn(follow_signals(hangup, handle, stopper));
    info!(
        "lbd {} forwards; control socket {}",
        env!("CARGO_PKG_VERSION"),
        options.socket.display()
    );
    systemd::ready();

    run(&mut engine, jobs, events, stop, Watchdog::of_environment()).await;
    systemd::stopping();
    let end = match engine.is_detached() {
        true => End::ForGood,
        false => End::Stopped,
    };
    engine.leave().await;
    // The stopper goes with the signals: the API hears it, answers what is under way and ends.
    signals.abort();
    if let Err(err) = api.await {
        error!("the control socket's server failed: {err}");
    }
    if let Err(err) = checks.finish().await {
        error!("what is known of the real servers' health is not kept: {err}");
    }
    match end {
        End::Stopped => info!("lbd has stopped; what is in the kernel forwards on"),
        End::ForGood => info!("lbd has stopped for good; nothing of it is left in the kernel"),
    }
    Ok(end)
}

/// Hangup applies the file; the others end the daemon.
async fn follow_signals(mut hangup: Signal, handle: Handle, stopper: Stopper) {
    let on = |kind| signal(kind).inspect_err(|err| error!("cannot follow signals: {err}"));
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (on(SignalKind::terminate()), on(SignalKind::interrupt()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&handle).await,
        }
    }
    info!("told to stop");
    stopper.stop();
}

async fn reload(handle: &Handle) {
    systemd::reloading();
    match handle.ask(Reload(ReloadRequest::default())).await {
        Ok(reloaded) => info!(
            "applied {} changes from {}",
            reloaded.changes.len(),
            reloaded.file
        ),
        Err(problem) => {
            error!("{problem}; what ran before goes on");
            for line in problem.why.iter().flat_map(|why| why.lines()) {
                error!("  {line}");
            }
        }
    }
    // Also after a refusal: the director is as ready as it was.
    systemd::ready();
}

/// Who may use the control socket.
fn access(api: &Api) -> Result<Access, Problem> {
    let group = match &api.group {
        None => None,
        Some(name) => {
            let found = nix::unistd::Group::from_name(name).map_err(|err| {
                Problem::failed(format!("cannot look up group `{name}`")).why(err.to_string())
            })?;
            let missing = || {
                Problem::invalid(format!(
                    "there is no group `{name}`, which `api: group` names"
                ))
                .hint(format!(
                    "make it with `groupadd --system {name}`, or name another"
                ))
            };
            Some(found.ok_or_else(missing)?.gid.as_raw())
        }
    };
    Ok(Access {
        owner: nix::unistd::geteuid().as_raw(),
        group,
        others_read: api.others_read,
    })
}

fn bpf_options(options: &Options, model: &Model, interfaces: Vec<String>) -> bpf::Options {
    bpf::Options {
        pin_dir: options.pin_dir.clone(),
        interfaces,
        mode: model.mode,
        replace: options.replace,
        capacity: Capacity {
            connections: model.connections.max,
            reals: model.limits.reals,
            services: model.limits.services,
        },
        log_packets: options.log_packets,
    }
}
