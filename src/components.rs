//! The one list of everything that a topology file can name.

use crate::bolt::top::Top;
use crate::bolt::trends::Trends;
use crate::bolt::window::Window;
use crate::bolt::{Count, Dedup, Features, Filter, Jq, Pick, Words};
use crate::registry::Registry;
use crate::shell::{ShellBolt, ShellSpout};
use crate::sink::local::Local;
use crate::sink::null::Null;
use crate::sink::postgres::Postgres;
use crate::sink::redshift::Redshift;
use crate::sink::s3::S3;
use crate::sink::socket::Socket;
use crate::sink::stdout::Stdout;
use crate::sink::webhook::Webhook;
use crate::social::bluesky::Bluesky;
use crate::social::facebook::Facebook;
use crate::social::mastodon::Mastodon;
use crate::social::x::X;
use crate::social::youtube::YouTube;
use crate::spout::generate::Generate;
use crate::spout::lines::Lines;
use crate::spout::replay::{LocalReplay, S3Replay};

/// Returns the components of this crate.
pub fn standard() -> Registry {
    Registry::empty()
        .spout::<Generate>()
        .spout::<Lines>()
        .spout::<LocalReplay>()
        .spout::<S3Replay>()
        .spout::<Facebook>()
        .spout::<YouTube>()
        .spout::<X>()
        .spout::<Bluesky>()
        .spout::<Mastodon>()
        .spout::<ShellSpout>()
        .bolt::<Filter>()
        .bolt::<Jq>()
        .bolt::<Pick>()
        .bolt::<Dedup>()
        .bolt::<Words>()
        .bolt::<Count>()
        .bolt::<Features>()
        .bolt::<Window>()
        .bolt::<Top>()
        .bolt::<Trends>()
        .bolt::<ShellBolt>()
        .sink::<Local>()
        .sink::<S3>()
        .sink::<Postgres>()
        .sink::<Redshift>()
        .sink::<Socket>()
        .sink::<Webhook>()
        .sink::<Stdout>()
        .sink::<Null>()
}
