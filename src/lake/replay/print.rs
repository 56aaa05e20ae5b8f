//! Prints the posts of a lake as NDJSON.

use std::io::{self, BufWriter, Write};
use std::thread;

use super::choice::Choice;
use super::disorder::Counts;
use super::place::Place;
use super::run::{Event, Replay, Split};
use super::{OnDamage, Order, Pace, PostTimes, Sorting, Tempo};
use crate::clock::{SharedClock, SystemClock};
use crate::error::{Error, Result};
use crate::lake::address::Address;
use crate::lake::lineage::meant;
use crate::lake::view;
use crate::post::Post;
use crate::progress;

/// The number of bytes of output that are buffered.
const OUTPUT_BYTES: usize = 256 << 10;

/// The options for printing posts.
#[derive(Clone, Debug, Default)]
pub struct Printing {
    /// The selection of partitions, within the glob.
    pub choice: Choice,
    /// The order of the posts.
    pub order: Order,
    /// The limits of sorting.
    pub sorting: Sorting,
    /// The tempo.
    pub tempo: Tempo,
    /// The range of posts' own times.
    pub times: PostTimes,
    /// The handling of a damaged file.
    pub on_damage: OnDamage,
}

/// Returns the lengths of all texts in these partitions, as far as they are known without reading
/// them.
///
/// # Errors
/// If they can't be listed.
pub fn text_bytes(place: &Place, partitions: &[String]) -> Result<u64> {
    let store = place.store();
    let mut bytes = 0_u64;
    for partition in partitions {
        for (name, object) in view::objects(store.as_ref(), meant(partition).0)? {
            bytes = bytes.saturating_add(view::text_bytes(store.as_ref(), name, &object)?);
        }
    }
    Ok(bytes)
}

/// Returns the bytes of text that [`print()`] would print of the partitions at some addresses, for a
/// progress bar.
///
/// # Errors
/// If they can't be listed.
pub fn bytes_to_print(addresses: &[String], choice: &Choice) -> Result<u64> {
    let mut bytes = 0_u64;
    for address in addresses {
        let Address { root, partitions } = Address::parse(address)?;
        let place = Place::at(&root)?;
        let names = place.partitions(&Choice { glob: partitions.glob(), ..choice.clone() })?;
        bytes = bytes.saturating_add(text_bytes(&place, &names)?);
    }
    Ok(bytes)
}

/// Prints the posts of partitions as NDJSON, and returns their number. `address` is
/// `<root>/<glob>`, a root, or a partition, in a folder or on S3. If the reader closes the pipe,
/// printing ends without an error. Notes for the user go to `say`.
///
/// # Errors
/// If nothing matches, a file is damaged, or the output can't be written.
pub fn print(
    address: &str,
    printing: &Printing,
    clock: &SharedClock,
    out: &mut dyn Write,
    say: &mut dyn FnMut(String),
) -> Result<u64> {
    let Address { root, partitions } = Address::parse(address)?;
    let place = Place::at(&root)?;
    let names = place.partitions(&Choice { glob: partitions.glob(), ..printing.choice.clone() })?;
    let Printing { order, sorting, tempo, on_damage, .. } = *printing;
    let replay = Replay { place, order, sorting, tempo, times: printing.times.clone(), on_damage };
    progress::piece(|| text_bytes(&replay.place, &names))?;
    let splits = names
        .into_iter()
        .map(|partition| Split { partition, mark: None, ended: false })
        .collect::<Vec<_>>();
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, out);
    let (mut printed, mut failed, mut pace) = (0, None, Pace::new(tempo));
    let mut counts = Counts::default();
    let mut take = |event| match event {
        Event::Handed(handed, anew) => {
            counts.add(&handed);
            let pause = pace.wait(handed.time, anew, clock.monotonic());
            if !pause.wait.is_zero() {
                failed = out.flush().err();
                if pause.is_noticed() {
                    say(pause.to_string());
                }
                thread::sleep(pause.wait);
            }
            failed = failed.take().or_else(|| write(&handed.posts, &mut out).err());
            printed += handed.posts.len() as u64;
            progress::advance(handed.posts.iter().map(|post| post.len() as u64).sum());
            failed.is_none()
        }
        Event::Damaged(what) => {
            say(what);
            true
        }
    };
    let result = replay.run(&splits, &mut take);
    counts.notes().into_iter().for_each(&mut *say);
    // Posts before an error are printed, too.
    match failed.map_or_else(|| out.flush(), Err) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::fatal("can't write the output").because(error))
        }
        _ => result.map(|()| printed),
    }
}

/// Prints all posts of partitions in their order, at full speed.
///
/// # Errors
/// As [`print()`].
pub fn replay(address: &str, out: &mut dyn Write) -> Result<u64> {
    print(address, &Printing::default(), &SystemClock::shared(), out, &mut |_| ())
}

fn write(posts: &[Post], out: &mut impl Write) -> io::Result<()> {
    posts.iter().try_for_each(|post| {
        out.write_all(post)?;
        out.write_all(b"\n")
    })
}
