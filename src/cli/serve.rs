//! `serve`: a server that keeps many topologies running.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::exit::{Code, Failure, Outcome};
use super::run::{limits, state_dir};
use super::stderr;
use crate::error::Error;
use crate::registry::Registry;
use crate::server::{self, Allowed, Ended, Limits, ServerOptions, TlsFiles, default_folder};
use crate::units::ByteSize;

/// Keep many topologies running, which `submit` and others send, and show them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What was submitted is kept: after a crash or a reboot everything that ran runs again, from its checkpoint.
All requests but /healthz and /readyz need the token, which the first start makes in the file \"token\" of
the state folder. SIGTERM or SIGINT drains all topologies; a second one ends at once, with exit code 5.")]
pub(crate) struct Args {
    /// The address to listen on. Anything but loopback needs TLS, or a proxy that has it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7474")]
    listen: SocketAddr,
    /// Where everything is kept [default: $XDG_STATE_HOME/waterspout-server, or
    /// ~/.local/state/waterspout-server]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The certificate for TLS, PEM, with those that lead from it to a root
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key for TLS, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A proxy in front of this server has TLS, and passes on the `Host` of requests
    #[arg(long)]
    behind_proxy: bool,
    /// A folder that files of topologies may lie in, links resolved (repeatable); without it no
    /// topology names a file
    #[arg(long, value_name = "DIR")]
    allow_path: Vec<PathBuf>,
    /// A variable that `Env` of topologies may read, or a pattern such as X_* (repeatable)
    #[arg(long, value_name = "NAME")]
    allow_env: Vec<String>,
    /// A file that `File` of topologies may read, or a folder of such files (repeatable)
    #[arg(long, value_name = "PATH")]
    allow_file: Vec<PathBuf>,
    /// Take topologies with `Shell`, which run any program as this user
    #[arg(long)]
    allow_shell: bool,
    /// How many topologies there may be
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().topologies_max)]
    max_topologies: usize,
    /// How many tasks all topologies may have together
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().tasks_max)]
    max_tasks: usize,
    /// The largest body of a request, and so the largest topology
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    max_body: ByteSize,
}

/// Runs the server until a signal ends it.
pub(crate) fn run(args: &Args, registry: Registry) -> Outcome {
    limits::make_room_for_files()?;
    let options = options(args)?;
    if !options.listen.ip().is_loopback() {
        stderr::say(&warning(&options));
    }
    let said = |text: &str, url: Option<&str>| stderr::print(&line(text, url));
    match server::serve(&options, Arc::new(registry), said)? {
        Ended::Stopped => Ok(Code::Success),
        Ended::AtOnce => Ok(Code::NotClean),
    }
}

fn options(args: &Args) -> Result<ServerOptions, Failure> {
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let tls = tls.map(|(certificate, key)| TlsFiles { certificate, key });
    if !args.listen.ip().is_loopback() && tls.is_none() && !args.behind_proxy {
        return Err(Failure::new(Code::Usage, refusal(args.listen.ip())));
    }
    let state = state_folder(args.state.as_deref())?;
    // The folder has to be there, so that links that lead into it are recognised.
    crate::lake::disk::make_private_folders(&state).map_err(|error| {
        Error::fatal(format!("can't make \"{}\"", state.display())).because(error)
    })?;
    let Args { allow_path, allow_env, allow_file, allow_shell, .. } = args;
    let program = std::env::current_exe()
        .map_err(|error| Error::fatal("can't find this program's own file").because(error))?;
    Ok(ServerOptions {
        listen: args.listen,
        program,
        tls,
        behind_proxy: args.behind_proxy,
        allowed: Allowed::new(allow_path, allow_env, allow_file, *allow_shell, &state)?,
        state,
        limits: Limits {
            body_bytes_max: usize::try_from(args.max_body.0).unwrap_or(usize::MAX),
            topologies_max: args.max_topologies,
            tasks_max: args.max_tasks,
        },
    })
}

/// The state folder of a server: the one that was given, or the default.
///
/// # Errors
/// If the environment names none.
pub(crate) fn state_folder(state: Option<&std::path::Path>) -> Result<PathBuf, Failure> {
    if let Some(state) = state {
        return state_dir::absolute(state);
    }
    let [state_home, home] = ["XDG_STATE_HOME", "HOME"].map(std::env::var_os);
    default_folder(state_home.as_deref(), home.as_deref()).ok_or_else(|| {
        let what = "neither $XDG_STATE_HOME nor $HOME is an absolute path: give --state DIR";
        Failure::new(Code::Runtime, what)
    })
}

fn refusal(ip: IpAddr) -> String {
    format!(
        "{ip} can be reached from other machines: give --tls-cert and --tls-key, or --behind-proxy if a proxy in \
         front of this server has TLS; the token would go over the network in the clear"
    )
}

fn warning(options: &ServerOptions) -> String {
    let how =
        if options.tls.is_some() { "with TLS" } else { "behind a proxy, without TLS of its own" };
    format!(
        "WARNING: {} can be reached from other machines, {how}. Whoever has the token runs topologies as this user: \
         they read and write what --allow-path names, and reach every host that this machine reaches.",
        options.listen
    )
}

/// A line for a person, or of JSON.
fn line(text: &str, url: Option<&str>) -> String {
    if stderr::is_terminal() {
        return text.to_owned();
    }
    serde_json::json!({ "message": text, "url": url }).to_string()
}
