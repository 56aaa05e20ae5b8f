//! A bolt for `Shell` in any language needs no library: this one echoes its tuples, and uses the
//! standard library only. It runs here and on Storm:
//!
//! ```text
//! Shell(command: ["target/debug/examples/echo_child"], fields: ["id"])
//! ```

use std::io::{self, BufRead, BufReader, BufWriter, Write};

fn main() -> io::Result<()> {
    let mut input = BufReader::with_capacity(256 << 10, io::stdin().lock());
    let mut output = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    let mut message = Vec::new();
    let mut is_first = true;
    while read_message(&mut input, &mut message)? {
        if is_first {
            handshake(&message, &mut output)?;
            is_first = false;
        } else if find(&message, b"\"__heartbeat\"").is_some() {
            output.write_all(b"{\"command\":\"sync\"}\nend\n")?;
        } else {
            echo(&message, &mut output)?;
        }
        // What is answered goes out before more is waited for.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    Ok(())
}

/// Reads lines up to one that is `end`. False if there are no more.
fn read_message(input: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    loop {
        let start = message.len();
        if input.read_until(b'\n', message)? == 0 {
            return Ok(false);
        }
        if &message[start..] == b"end\n" {
            message.truncate(start);
            return Ok(true);
        }
    }
}

/// Notes the process id where Storm looks for it, and answers with it.
fn handshake(message: &[u8], output: &mut impl Write) -> io::Result<()> {
    let pid = std::process::id();
    if let Some(folder) = text_behind(message, b"\"pidDir\":\"") {
        let folder = String::from_utf8_lossy(folder).replace("\\/", "/");
        std::fs::write(std::path::Path::new(&folder).join(pid.to_string()), "")?;
    }
    write!(output, "{{\"pid\":{pid}}}\nend\n")
}

fn echo(message: &[u8], output: &mut impl Write) -> io::Result<()> {
    let Some(id) = text_behind(message, b"\"id\":\"") else { return Ok(()) };
    if find(message, b"\"__tick\"").is_none()
        && let Some(tuple) = list_behind(message, b"\"tuple\":")
    {
        output.write_all(b"{\"command\":\"emit\",\"need_task_ids\":false,\"anchors\":[\"")?;
        output.write_all(id)?;
        output.write_all(b"\"],\"tuple\":")?;
        output.write_all(tuple)?;
        output.write_all(b"}\nend\n")?;
    }
    output.write_all(b"{\"command\":\"ack\",\"id\":\"")?;
    output.write_all(id)?;
    output.write_all(b"\"}\nend\n")
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// The text between quotes whose beginning, with the first quote, is `key`.
fn text_behind<'a>(message: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = find(message, key)? + key.len();
    let length = message[start..].iter().position(|byte| *byte == b'"')?;
    Some(&message[start..start + length])
}

/// The list that stands behind a key.
fn list_behind<'a>(message: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = find(message, key)? + key.len();
    let (mut depth, mut is_text, mut is_escaped) = (0, false, false);
    for (at, byte) in message[start..].iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => {
                depth -= 1;
                if depth == 0 {
                    return Some(&message[start..=start + at]);
                }
            }
            _ => {}
        }
    }
    None
}
