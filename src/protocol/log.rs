//! Routes events (crate `tracing`) to the logs of topologies. Each thread of a topology is in a
//! span of that topology. An event on such a thread goes to the topology's own log, if the log's
//! level includes it, and watchers read it there like every other message. Events outside of all
//! topologies go to the outlet of the process.
//!
//! ```text
//! tracing::debug!(…) ─▶ LogLayer ─┬─ in a topology's span ─▶ its Messages ─▶ watchers
//!                                 └─ outside ──────────────▶ the outlet
//! ```
//!
//! Events of other crates are discarded, because their texts about requests may contain secrets.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::Attributes;
use tracing::subscriber::Interest;
use tracing::{Event, Id, Metadata, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::Messages;
use crate::log_level::LogLevel;

/// The first part of the targets whose events are logged: this crate's name.
const OWN_TARGET: &str = "waterspout";

/// The name of the span of a topology's threads.
const TOPOLOGY_SPAN: &str = "topology";

/// The receiver of events outside of topologies.
pub type Outlet = fn(LogLevel, &str);

static OUTLET: OnceLock<Outlet> = OnceLock::new();

/// The level of the process. It applies to events outside of topologies, and to topologies that
/// start later.
static PROCESS_LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);

static NEXT_RUN: AtomicU64 = AtomicU64::new(1);

/// The logs of running topologies, by the numbers of their spans.
static LOGS: Mutex<Vec<(u64, Weak<Messages>)>> = Mutex::new(Vec::new());

fn logs() -> MutexGuard<'static, Vec<(u64, Weak<Messages>)>> {
    LOGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Receives all events of this process from here on. Only the first call has an effect.
pub fn install(level: LogLevel, outlet: Outlet) {
    PROCESS_LEVEL.store(level as u8, Ordering::Relaxed);
    let _ = OUTLET.set(outlet);
    let subscriber = tracing_subscriber::registry().with(LogLayer);
    // A program with a subscriber of its own keeps that subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Returns the level of the process.
pub fn process_level() -> LogLevel {
    LogLevel::of_number(PROCESS_LEVEL.load(Ordering::Relaxed))
}

/// Creates the span for the threads of a topology with this log.
pub fn topology_span(messages: &Arc<Messages>) -> Span {
    messages.set_level(process_level());
    let run = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
    let mut known = logs();
    known.retain(|(_, log)| log.strong_count() > 0);
    known.push((run, Arc::downgrade(messages)));
    drop(known);
    tracing::error_span!(target: "waterspout", "topology", run)
}

/// Keeps the calling thread in a span until the thread ends.
pub fn stay_in(span: Span) {
    std::mem::forget(span.entered());
}

/// Changes the level of one topology's log.
pub fn set_level(messages: &Messages, level: LogLevel) {
    messages.set_level(level);
    // Call sites cache whether any log takes their events.
    tracing::callsite::rebuild_interest_cache();
}

/// Returns the highest level of all logs.
fn level_max() -> LogLevel {
    let of_topologies = logs().iter().filter_map(|(_, log)| Some(log.upgrade()?.level())).max();
    process_level().max(of_topologies.unwrap_or(LogLevel::Off))
}

/// The log of a topology, as its span refers to it.
struct TopologyLog(Weak<Messages>);

struct LogLayer;

fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(OWN_TARGET)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !is_own(metadata) {
            return Interest::never();
        }
        if metadata.is_span() { Interest::always() } else { Interest::sometimes() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_own(metadata) && (metadata.is_span() || LogLevel::from(*metadata.level()) <= level_max())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // The span of a topology has the level `Error`, so that level must always be enabled.
        Some(LevelFilter::from(level_max().max(LogLevel::Error)))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != TOPOLOGY_SPAN {
            return;
        }
        let mut run = RunField(None);
        attributes.record(&mut run);
        let known = logs();
        let log = known.iter().find(|(number, _)| Some(*number) == run.0);
        if let (Some((_, log)), Some(span)) = (log, context.span(id)) {
            span.extensions_mut().insert(TopologyLog(Weak::clone(log)));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = LogLevel::from(*event.metadata().level());
        let log = context.event_scope(event).into_iter().flatten().find_map(|span| {
            span.extensions().get::<TopologyLog>().map(|TopologyLog(log)| log.upgrade())
        });
        match log {
            Some(Some(messages)) if level <= messages.level() => {
                messages.log(level, text_of(event));
            }
            // The topology has ended, or its level excludes the event.
            Some(_) => {}
            None if level <= process_level() => {
                if let Some(outlet) = OUTLET.get() {
                    outlet(level, &text_of(event));
                }
            }
            None => {}
        }
    }
}

/// The number of a topology's span.
struct RunField(Option<u64>);

impl Visit for RunField {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "run" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Returns an event as one line: its module, its message, and its fields.
fn text_of(event: &Event<'_>) -> String {
    let mut text = EventText { message: String::new(), fields: String::new() };
    event.record(&mut text);
    let module = event.metadata().target().trim_start_matches(OWN_TARGET).trim_start_matches("::");
    let module = if module.is_empty() { String::new() } else { format!("{module}: ") };
    format!("{module}{}{}", text.message, text.fields)
}

struct EventText {
    message: String,
    fields: String,
}

impl Visit for EventText {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a String can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(messages: &Messages) -> Vec<String> {
        messages.after(0).into_iter().map(|message| message.text).collect()
    }

    #[test]
    fn events_come_into_the_log_of_their_topology_up_to_its_level() {
        let subscriber = tracing_subscriber::registry().with(LogLayer);
        let (one, two) = (Arc::new(Messages::default()), Arc::new(Messages::default()));
        tracing::subscriber::with_default(subscriber, || {
            let (span_of_one, span_of_two) = (topology_span(&one), topology_span(&two));
            set_level(&one, LogLevel::Debug);
            for span in [&span_of_one, &span_of_two] {
                span.in_scope(|| {
                    let host = "a.example";
                    tracing::debug!(target: "waterspout::net", host, status = 200, "asked");
                    tracing::warn!(target: "waterspout::net", "refused");
                    tracing::error!(target: "hyper", "with a secret");
                });
            }
            // Threads of a topology inherit its span.
            let span = span_of_one.clone();
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            let work = move || {
                tracing::dispatcher::with_default(&dispatch, || {
                    span.in_scope(|| tracing::debug!(target: "waterspout", "on a thread"));
                });
            };
            std::thread::spawn(work).join().unwrap();
            set_level(&one, LogLevel::Off);
            span_of_one.in_scope(|| tracing::error!(target: "waterspout", "nobody wants it"));
        });
        let asked = "net: asked host=a.example status=200";
        assert_eq!(texts(&one), [asked, "net: refused", "on a thread"]);
        assert_eq!(texts(&two), ["net: refused"]);
    }
}
