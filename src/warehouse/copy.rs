//! Rows in the binary format of COPY.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Client;

use super::failure::Done;
use super::months::Micros;
use super::storable::storable_text;

/// The number of bytes that are sent at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// The microseconds from 1970 to 2000, the year from which the server counts.
pub(super) const EPOCH: Micros = 946_684_800_000_000;

/// The server's number of the type `text`, which arrays contain.
const TEXT_OID: u32 = 25;

/// The buffer that rows are written into.
#[derive(Default)]
pub(super) struct CopyBuffer(BytesMut);

impl CopyBuffer {
    /// Begins a row.
    pub(crate) fn row(&mut self, columns: usize) {
        // Tables have a few dozen columns.
        self.0.put_i16(i16::try_from(columns).unwrap_or(i16::MAX));
    }

    pub(crate) fn null(&mut self) {
        self.0.put_i32(-1);
    }

    pub(crate) fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.sized(|buffer| buffer.put_slice(storable_text(text).as_bytes())),
            None => self.null(),
        }
    }

    pub(crate) fn int(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.sized(|buffer| buffer.put_i64(number)),
            None => self.null(),
        }
    }

    pub(crate) fn int4(&mut self, number: i32) {
        self.sized(|buffer| buffer.put_i32(number));
    }

    pub(crate) fn float(&mut self, number: Option<f64>) {
        match number {
            Some(number) => self.sized(|buffer| buffer.put_f64(number)),
            None => self.null(),
        }
    }

    pub(crate) fn bool(&mut self, is_true: Option<bool>) {
        match is_true {
            Some(is_true) => self.sized(|buffer| buffer.put_u8(u8::from(is_true))),
            None => self.null(),
        }
    }

    pub(crate) fn time(&mut self, time: Option<Micros>) {
        self.int(time.map(|time| time.saturating_sub(EPOCH)));
    }

    pub(crate) fn jsonb(&mut self, json: &[u8]) {
        self.sized(|buffer| {
            // The version of the format of `jsonb`.
            buffer.put_u8(1);
            buffer.put_slice(json);
        });
    }

    pub(crate) fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) {
        let count = i32::try_from(texts.len()).unwrap_or(i32::MAX);
        self.sized(|buffer| {
            // The number of dimensions, the flag for nulls, the element type; then the length and
            // the first index of the one dimension.
            buffer.put_i32(i32::from(count > 0));
            buffer.put_i32(0);
            buffer.put_u32(TEXT_OID);
            if count > 0 {
                buffer.put_i32(count);
                buffer.put_i32(1);
            }
            for text in texts {
                let text = storable_text(text);
                buffer.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
                buffer.put_slice(text.as_bytes());
            }
        });
    }

    /// Writes a value after its length.
    fn sized(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let at = self.0.len();
        self.0.put_i32(0);
        write(&mut self.0);
        // A row is far below 2 GiB.
        let length = i32::try_from(self.0.len() - at - 4).unwrap_or(i32::MAX);
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Sends rows into a table; `columns` is a list in SQL. Returns at once without rows.
pub(super) async fn copy_rows<R>(
    client: &Client,
    table: &str,
    columns: &str,
    rows: impl IntoIterator<Item = R>,
    encode: impl Fn(R, &mut CopyBuffer),
) -> Done<()> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let statement = format!("copy {table} ({columns}) from stdin (format binary)");
    let mut sink = Box::pin(client.copy_in::<_, Bytes>(&statement).await?);
    let mut buffer = CopyBuffer::default();
    buffer.0.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for row in rows {
        encode(row, &mut buffer);
        if buffer.0.len() >= CHUNK_BYTES {
            sink.send(buffer.0.split().freeze()).await?;
        }
    }
    buffer.0.put_i16(-1);
    sink.send(buffer.0.freeze()).await?;
    sink.as_mut().finish().await?;
    Ok(())
}
