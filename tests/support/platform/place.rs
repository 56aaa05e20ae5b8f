//! The endpoints of the platforms: faults, limits and the log refer to these.

use super::world::Kind;

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    XStream,
    XRules,
    XRulesChange,
    XRecent,
    XLookup,
    XConnections,
    /// Facebook's posts and feeds of a page.
    FacebookPosts,
    /// Facebook's reads by id.
    FacebookRead,
    YouTubeSearch,
    YouTubeVideos,
    YouTubePlaylist,
    YouTubeChannels,
    Jetstream,
    BlueskyPosts,
    MastodonInstance,
    /// SSE and WebSocket.
    MastodonStream,
    MastodonTimeline,
    MastodonStatus,
    MastodonHealth,
    /// A path that no platform has.
    Nowhere,
}

impl Place {
    pub(crate) fn of(method: &str, path: &str) -> Self {
        let parts: Vec<_> = path.split('/').skip(1).collect();
        match (method, parts.as_slice()) {
            ("GET", ["2", "tweets", "search", "stream"]) => Self::XStream,
            ("GET", ["2", "tweets", "search", "stream", "rules"]) => Self::XRules,
            ("POST", ["2", "tweets", "search", "stream", "rules"]) => Self::XRulesChange,
            ("GET", ["2", "tweets", "search", "recent"]) => Self::XRecent,
            ("GET", ["2", "tweets"]) => Self::XLookup,
            ("GET" | "DELETE", ["2", "connections", ..]) => Self::XConnections,
            ("GET", ["youtube", "v3", "search"]) => Self::YouTubeSearch,
            ("GET", ["youtube", "v3", "videos"]) => Self::YouTubeVideos,
            ("GET", ["youtube", "v3", "playlistItems"]) => Self::YouTubePlaylist,
            ("GET", ["youtube", "v3", "channels"]) => Self::YouTubeChannels,
            // The paths below `/late` belong to another host, which sees everything later.
            ("GET", ["subscribe"] | ["late", "subscribe"]) => Self::Jetstream,
            ("GET", ["xrpc", "app.bsky.feed.getPosts"]) => Self::BlueskyPosts,
            ("GET", ["api", "v2", "instance"]) => Self::MastodonInstance,
            ("GET", ["api", "v1", "streaming", "health"]) => Self::MastodonHealth,
            ("GET", ["api", "v1", "streaming", ..]) => Self::MastodonStream,
            ("GET", ["api", "v1", "timelines", ..]) => Self::MastodonTimeline,
            ("GET", ["api", "v1", "statuses", ..]) => Self::MastodonStatus,
            (
                "GET",
                [version, _page, "posts" | "feed" | "published_posts" | "tagged" | "visitor_posts"],
            ) if is_version(version) => Self::FacebookPosts,
            ("GET", [version, ..]) if is_version(version) && parts.len() <= 2 => Self::FacebookRead,
            _ => Self::Nowhere,
        }
    }

    /// Returns the platform of the endpoint.
    pub(crate) fn kind(self) -> Kind {
        use Place::*;
        match self {
            XStream | XRules | XRulesChange | XRecent | XLookup | XConnections => Kind::Tweet,
            FacebookPosts | FacebookRead | Nowhere => Kind::Post,
            YouTubeSearch | YouTubeVideos | YouTubePlaylist | YouTubeChannels => Kind::Video,
            Jetstream | BlueskyPosts => Kind::Bsky,
            MastodonInstance | MastodonStream | MastodonTimeline | MastodonStatus
            | MastodonHealth => Kind::Toot,
        }
    }

    /// Returns true if the endpoint's answer has no end.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::XStream | Self::Jetstream | Self::MastodonStream)
    }

    /// Returns true if the endpoint needs no token.
    pub(crate) fn is_open(self) -> bool {
        matches!(
            self,
            Self::Jetstream
                | Self::BlueskyPosts
                | Self::MastodonInstance
                | Self::MastodonHealth
                | Self::Nowhere
        )
    }
}

/// Returns true for a version such as `v25.0`.
fn is_version(part: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    part.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(a, b)| digits(a) && digits(b))
}
