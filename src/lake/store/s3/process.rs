//! Credentials that another program prints: `credential_process` of the shared files (AWS SDKs and
//! Tools Reference Guide, "Process credential provider"). Single sign-on and roles work through it,
//! too.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AwsCredential;
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::clock::SystemClock;
use crate::error::{Error, Result};

/// The time before their expiry at which credentials are renewed: an upload that has begun must end
/// while they are valid.
const AHEAD: time::Duration = time::Duration::minutes(5);

/// The time limit of the program: some programs ask a server.
const RUN_MAX: Duration = Duration::from_secs(60);

/// The output of the program.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    expiration: Option<OffsetDateTime>,
}

/// The last output of the program, which is used while it is valid.
#[derive(Default)]
pub(super) struct Process {
    last: Mutex<Option<Last>>,
}

struct Last {
    command: String,
    credential: Arc<AwsCredential>,
    expires: Option<OffsetDateTime>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Process")
    }
}

impl Process {
    /// Returns the credentials that the command of a profile prints. It is run once for several
    /// callers at the same time, and again when the credentials are about to expire.
    ///
    /// # Errors
    /// If it can't be run, or prints no credentials. The error doesn't repeat its output, which may
    /// be a secret.
    pub(crate) async fn credential(
        &self,
        profile: &str,
        command: &str,
    ) -> Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().await;
        let holds = |last: &&Last| {
            let holds = |expires| SystemClock::shared().now() + AHEAD < expires;
            last.command == command && last.expires.is_none_or(holds)
        };
        if let Some(last) = last.as_ref().filter(holds) {
            return Ok(Arc::clone(&last.credential));
        }
        let failed = |why: &str| {
            Error::transient(format!("the credential_process of the profile \"{profile}\" {why}"))
        };
        let printed = run(command, &failed).await?;
        let Printed {
            access_key_id: key_id,
            secret_access_key: secret_key,
            session_token: token,
            ..
        } = printed;
        let credential = Arc::new(AwsCredential { key_id, secret_key, token });
        let kept = Last {
            command: command.into(),
            credential: Arc::clone(&credential),
            expires: printed.expiration,
        };
        *last = Some(kept);
        Ok(credential)
    }
}

async fn run(command: &str, failed: &impl Fn(&str) -> Error) -> Result<Printed> {
    let words = shlex::split(command).filter(|words| !words.is_empty());
    let words =
        words.ok_or_else(|| failed("isn't a command: expected a program and its arguments"))?;
    let mut program = Command::new(&words[0]);
    program.args(&words[1..]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let ended = timeout(RUN_MAX, program.output()).await;
    let ended = ended.map_err(|_| failed("didn't end within 60 s"))?;
    let ended =
        ended.map_err(|cause| failed(&format!("can't run \"{}\"", words[0])).because(cause))?;
    if !ended.status.success() {
        return Err(failed(&format!("ended with {}: run it by hand to see why", ended.status)));
    }
    let printed = serde_json::from_slice::<Printed>(&ended.stdout)
        .ok()
        .filter(|printed| printed.version == 1);
    printed.ok_or_else(|| {
        failed("printed no credentials: expected JSON with \"Version\": 1, \"AccessKeyId\" and \"SecretAccessKey\"")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Makes a program that records that it ran, and prints this text.
    fn program(folder: &Path, prints: &str) -> String {
        let (path, ran) = (folder.join("a program.sh"), folder.join("ran"));
        fs::write(&path, format!("echo \"$1\" >> '{}'\necho '{prints}'\n", ran.display())).unwrap();
        format!("sh \"{}\" once", path.display())
    }

    fn ask(process: &Process, command: &str) -> Result<Arc<AwsCredential>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(process.credential("work", command))
    }

    fn expiring(in_minutes: i64) -> String {
        let at = SystemClock::shared().now() + time::Duration::minutes(in_minutes);
        let at = at.format(&time::format_description::well_known::Rfc3339).unwrap();
        format!(
            r#"{{"Version":1,"AccessKeyId":"id","SecretAccessKey":"hidden","SessionToken":"t","Expiration":"{at}"}}"#
        )
    }

    #[test]
    fn it_is_run_again_when_what_it_printed_is_about_to_expire() {
        for (minutes, runs) in [(60, 1), (4, 3)] {
            let (folder, process) = (tempfile::tempdir().unwrap(), Process::default());
            let command = program(folder.path(), &expiring(minutes));
            for _ in 0..3 {
                let found = ask(&process, &command).unwrap();
                let found =
                    (found.key_id.as_str(), found.secret_key.as_str(), found.token.as_deref());
                assert_eq!(found, ("id", "hidden", Some("t")));
            }
            assert_eq!(
                fs::read_to_string(folder.path().join("ran")).unwrap(),
                "once\n".repeat(runs)
            );
        }
    }

    #[test]
    fn what_goes_wrong_is_said_without_what_was_printed() {
        let folder = tempfile::tempdir().unwrap();
        let printing = |prints: &str| program(folder.path(), prints);
        for (command, why) in [
            (
                printing(r#"{"Version":2,"AccessKeyId":"id","SecretAccessKey":"hidden"}"#),
                "printed no credentials",
            ),
            (printing("hidden"), "printed no credentials"),
            ("sh -c 'echo hidden >&2; exit 3'".into(), "ended with exit status: 3"),
            ("/nowhere/hidden-not".into(), "can't run \"/nowhere/hidden-not\""),
            ("'half".into(), "isn't a command"),
        ] {
            let error = ask(&Process::default(), &command).unwrap_err().chain();
            assert!(
                error.starts_with("the credential_process of the profile \"work\" "),
                "{error}"
            );
            assert!(error.contains(why) && !error.contains("\"hidden\""), "{error}");
        }
    }
}
