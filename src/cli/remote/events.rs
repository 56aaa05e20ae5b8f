//! Server-Sent Events on the side of a command.

use super::Server;
use crate::cli::exit::Failure;
use crate::net::runtime::runtime;

impl Server {
    /// Reads events until the server ends them, or `take` says that it is enough. `take` gets the
    /// name of each event and its data.
    ///
    /// # Errors
    /// If the server can't be reached, says no, or is gone.
    pub(crate) fn events(
        &self,
        path: &str,
        query: &[(&str, &str)],
        take: &mut dyn FnMut(&str, &str) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        runtime()?.block_on(self.read_events(path, query, take))
    }

    async fn read_events(
        &self,
        path: &str,
        query: &[(&str, &str)],
        take: &mut dyn FnMut(&str, &str) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let headers = [("accept", "text/event-stream")];
        let opened = self.http.open(path, query, &headers).await;
        let mut body = opened.map_err(|failure| self.unreachable(&failure))?;
        if body.status() != 200 {
            let reply = body.whole().await.map_err(|failure| self.unreachable(&failure))?;
            return Err(self.refused(&reply));
        }
        let (mut text, mut event, mut data) = (Vec::new(), String::new(), String::new());
        while let Some(chunk) = body.chunk().await.map_err(|failure| self.unreachable(&failure))? {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line[..end]);
                if let Some(name) = line.strip_prefix("event: ") {
                    name.clone_into(&mut event);
                } else if let Some(line) = line.strip_prefix("data: ") {
                    line.clone_into(&mut data);
                } else if line.starts_with(':') {
                    body.message_came();
                } else if line.is_empty() && !event.is_empty() {
                    body.message_came();
                    if !take(&event, &data)? {
                        return Ok(());
                    }
                    event.clear();
                }
            }
        }
        Ok(())
    }
}
