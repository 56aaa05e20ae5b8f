//! Authentication of clients: by the token in a file, or by a session that began with the token.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use tokio::sync::Semaphore;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::lake::disk::{failed, sync_folder};
use crate::secret::Secret;

/// The name of the token's file in the server's state folder.
pub const TOKEN_FILE: &str = "token";

/// The name of the cookie with a session.
const COOKIE: &str = "waterspout_session";

/// The duration of a session. A longer one helps anybody who finds an open browser; a shorter one
/// asks for the token more often.
const SESSION_MAX: Duration = Duration::from_secs(12 * 3600);

/// The number of random bytes of a token: too many to guess.
const TOKEN_BYTES: usize = 32;

/// The wait after a wrong token: at first, and at most.
const WRONG_WAIT_MIN: Duration = Duration::from_millis(250);
const WRONG_WAIT_MAX: Duration = Duration::from_secs(8);

/// The time without a wrong token after which the waits are short again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The maximum number of clients that wait for the answer to a wrong token. Each holds a
/// connection.
const WAITING_MAX: usize = 16;

/// The credentials of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The token.
    Token,
    /// A session.
    Session,
    /// Another token, or a session that is over.
    Wrong,
    /// Nothing.
    Nothing,
}

/// The check of credentials.
pub(crate) struct Auth {
    digest: digest::Digest,
    key: hmac::Key,
    clock: SharedClock,
    /// True if cookies go over TLS only.
    is_secure: bool,
    wrong: Mutex<Wrong>,
    waiting: Semaphore,
}

/// The wrong tokens of the last minutes.
#[derive(Default)]
struct Wrong {
    in_a_row: u32,
    last: Duration,
}

impl Auth {
    /// Reads the token in the server's state folder, or creates one.
    ///
    /// # Errors
    /// If the file can't be made or read, has nothing in it, or others may read it.
    pub(crate) fn open(state: &Path, is_secure: bool, clock: SharedClock) -> Result<Self> {
        let token = read_or_make(&state.join(TOKEN_FILE))?;
        Ok(Self::new(&token, is_secure, clock))
    }

    fn new(token: &Secret, is_secure: bool, clock: SharedClock) -> Self {
        let token = token.reveal().as_bytes();
        Self {
            digest: digest::digest(&digest::SHA256, token),
            key: hmac::Key::new(hmac::HMAC_SHA256, token),
            clock,
            is_secure,
            wrong: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// Returns the credentials in the headers of a request.
    pub(crate) fn shown(&self, authorization: Option<&str>, cookies: Option<&str>) -> Shown {
        if let Some(header) = authorization {
            let token = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("bearer "));
            let is_right = token.is_some_and(|token| self.is_token(token.trim()));
            return if is_right { Shown::Token } else { Shown::Wrong };
        }
        let pairs = cookies.into_iter().flat_map(|cookies| cookies.split(';'));
        let ours = pairs.filter_map(|pair| pair.trim().split_once('='));
        match ours.into_iter().find(|(name, _)| *name == COOKIE) {
            Some((_, value)) if self.is_session(value) => Shown::Session,
            // A session that is over is no attempt at anything.
            _ => Shown::Nothing,
        }
    }

    /// Returns true for the token. Digests are compared, so that the time tells nothing of it.
    pub(crate) fn is_token(&self, token: &str) -> bool {
        digest::digest(&digest::SHA256, token.as_bytes()).as_ref() == self.digest.as_ref()
    }

    fn is_session(&self, value: &str) -> bool {
        let Some((said, tag)) = value.rsplit_once('.') else { return false };
        let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
        let is_ours = hmac::verify(&self.key, said.as_bytes(), &tag).is_ok();
        let ends = said.split('.').next().and_then(|ends| ends.parse::<i64>().ok());
        is_ours && ends.is_some_and(|ends| self.clock.now().unix_timestamp() < ends)
    }

    /// The cookie of a new session, for a header. It outlives the server, and ends with the token.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn new_session(&self) -> Result<String> {
        let ends = self.clock.now().unix_timestamp() + SESSION_MAX.as_secs().cast_signed();
        let said = format!("{ends}.{}", random_text(16)?);
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, said.as_bytes()));
        Ok(self.cookie(&format!("{said}.{tag}"), SESSION_MAX.as_secs()))
    }

    /// The cookie that ends a session, for a header.
    pub(crate) fn no_session(&self) -> String {
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.is_secure { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// Holds up whoever showed a wrong token, longer each time. Returns false if too many wait
    /// already.
    pub(crate) async fn slow_down(&self) -> bool {
        let Ok(_waiting) = self.waiting.try_acquire() else { return false };
        let wait = {
            let now = self.clock.monotonic();
            let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_sub(wrong.last) > FORGIVEN_AFTER {
                wrong.in_a_row = 0;
            }
            (wrong.in_a_row, wrong.last) = (wrong.in_a_row.saturating_add(1), now);
            let factor = 2_u32.saturating_pow(wrong.in_a_row.min(16) - 1);
            WRONG_WAIT_MIN.saturating_mul(factor).min(WRONG_WAIT_MAX)
        };
        self.clock.sleep(wait).await;
        true
    }
}

fn random_text(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| Error::fatal("the system has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

fn read_or_make(path: &Path) -> Result<Secret> {
    let cant = |what, error| failed(what, path, error);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let token = random_text(TOKEN_BYTES)?;
            let written = file.write_all(format!("{token}\n").as_bytes());
            let synced = written.and_then(|()| file.sync_all());
            let folder = path.parent().unwrap_or(Path::new("/"));
            synced.and_then(|()| sync_folder(folder)).map_err(|error| cant("write", error))?;
            return Ok(Secret::new(token));
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cant("make", error)),
    }
    let mode = fs::metadata(path).map_err(|error| cant("read", error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::fatal(format!(
            "others may read the token in \"{}\" (mode {:o}): delete it, so that the next start \
             makes another",
            path.display(),
            mode & 0o777
        )));
    }
    let text = fs::read_to_string(path).map_err(|error| cant("read", error))?;
    if text.trim().len() < TOKEN_BYTES {
        return Err(Error::fatal(format!(
            "\"{}\" has no token of at least {TOKEN_BYTES} characters: delete it, so that the next \
             start makes one",
            path.display()
        )));
    }
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn the_token_is_made_once_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKEN_FILE);
        let made = read_or_make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&path).unwrap().reveal(), made.reveal());
        assert!(made.reveal().len() >= 43);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_or_make(&path).unwrap_err().chain().contains("mode 644"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "\n").unwrap();
        assert!(read_or_make(&path).unwrap_err().chain().contains("has no token"));
    }

    #[test]
    fn a_session_is_the_tokens_and_ends() {
        let clock = ManualClock::at(datetime!(2026-11-27 6:00 UTC));
        let auth = Auth::new(&Secret::new("t".repeat(43)), true, clock.clone());
        let cookie = auth.new_session().unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
        let pair = cookie.split(';').next().unwrap().to_owned();
        let shown = |cookies: &str| auth.shown(None, Some(cookies));
        assert_eq!(shown(&format!("a=b; {pair}")), Shown::Session);
        assert_eq!(shown(&pair.replace("=1", "=2")), Shown::Nothing);
        assert_eq!(shown("waterspout_session="), Shown::Nothing);
        let other = Auth::new(&Secret::new("u".repeat(43)), true, clock.clone());
        assert_eq!(other.shown(None, Some(&pair)), Shown::Nothing);
        assert_eq!(auth.shown(Some(&format!("Bearer {}", "t".repeat(43))), None), Shown::Token);
        assert_eq!(auth.shown(Some("Bearer t"), Some(&pair)), Shown::Wrong);
        clock.advance(SESSION_MAX);
        assert_eq!(shown(&pair), Shown::Nothing);
    }
}
