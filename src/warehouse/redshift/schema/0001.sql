-- The warehouse in Amazon Redshift, version 1. Runs in one transaction, with the warehouse's schema as search_path.
-- Times are UTC. Ids are text, since no other type keeps every platform's digits. Redshift enforces no key: writers
-- take turns by the lock on "loads", and each key comes in once. Lists are SUPER.

-- One row for each post: its newest version, with its newest counts.
create table posts (
    "platform"        varchar(256) not null,
    "post_id"         varchar(2048) not null,
    "created_at"      timestamptz not null,   -- of the version that came first
    "received_at"     timestamptz,
    "edited_at"       timestamptz,
    "deleted_at"      timestamptz,            -- its text, raw, media, and what was taken from its text are null then
    "kind"            varchar(256),
    "author_id"       varchar(2048),
    "author_handle"   varchar(2048),
    "lang"            varchar(256),
    "lang_source"     varchar(256),
    "text"            varchar(65535),
    "hashtags"        super,
    "cashtags"        super,
    "mentions"        super,
    "urls"            super,
    "domains"         super,
    "media"           super,
    "relation"        varchar(256),
    "reply_to"        varchar(2048),
    "repost_of"       varchar(2048),
    "quote_of"        varchar(2048),
    "conversation_id" varchar(2048),
    "likes"           bigint,
    "reposts"         bigint,
    "replies"         bigint,
    "quotes"          bigint,
    "views"           bigint,
    "bookmarks"       bigint,
    "sentiment"       double precision,
    "topics"          super,
    "raw"             super,
    "loaded_at"       timestamptz,
    "counted_at"      timestamptz,            -- when the counts were read
    "is_reading"      boolean not null,       -- only a later reading for its counts is known
    "revision"        varchar(2048),          -- what tells versions with the same id apart
    "servers"         varchar(65535),         -- the servers that it names as its own, a comma around each
    "other_id"        varchar(2048),          -- another id by which a deletion may name it
    primary key ("platform", "post_id")
) distkey ("post_id") sortkey ("created_at");

-- The keys of posts by the name that they have in PostgreSQL, where they are a table of their own.
create view post_keys as select "platform", "post_id", "created_at", "other_id" from posts;

create table authors (
    "platform"   varchar(256) not null,
    "author_id"  varchar(2048) not null,
    "handle"     varchar(2048),
    "name"       varchar(65535),
    "followers"  bigint,
    "following"  bigint,
    "posts"      bigint,
    "verified"   boolean,
    "bot"        boolean,
    "created_at" timestamptz,
    "first_seen" timestamptz,           -- the times of the oldest and the newest of the author's posts
    "last_seen"  timestamptz,
    primary key ("platform", "author_id")
) distkey ("author_id") sortkey ("platform", "author_id");

create table post_hashtags (
    "platform"   varchar(256) not null,
    "post_id"    varchar(2048) not null,
    "created_at" timestamptz not null,
    "hashtag"    varchar(65535) not null,
    primary key ("platform", "post_id", "hashtag")
) distkey ("post_id") sortkey ("created_at");

create table post_mentions (
    "platform"   varchar(256) not null,
    "post_id"    varchar(2048) not null,
    "created_at" timestamptz not null,
    "mention"    varchar(65535) not null,
    primary key ("platform", "post_id", "mention")
) distkey ("post_id") sortkey ("created_at");

create table post_urls (
    "platform"   varchar(256) not null,
    "post_id"    varchar(2048) not null,
    "created_at" timestamptz not null,
    "place"      integer not null,
    "url"        varchar(65535) not null,
    "domain"     varchar(2048),
    primary key ("platform", "post_id", "place")
) distkey ("post_id") sortkey ("created_at");

-- The counts of posts over time: one row for each reading that has any.
create table engagement (
    "platform"  varchar(256) not null,
    "post_id"   varchar(2048) not null,
    "at"        timestamptz not null,
    "likes"     bigint,
    "reposts"   bigint,
    "replies"   bigint,
    "quotes"    bigint,
    "views"     bigint,
    "bookmarks" bigint,
    primary key ("platform", "post_id", "at")
) distkey ("post_id") sortkey ("at");

create table trends (
    "key_type"     varchar(256) not null,
    "key"          varchar(2048) not null,
    "bucket_start" timestamptz not null,
    "started_at"   timestamptz,
    "peak_at"      timestamptz,
    "count"        bigint,
    "baseline"     double precision,
    "score"        double precision,
    "p_value"      double precision,
    "authors"      bigint,
    "sample_posts" super,
    "why"          varchar(65535),
    primary key ("key_type", "key", "bucket_start")
) distkey ("key") sortkey ("bucket_start");

-- From when to when posts may be missing, and why.
create table gaps (
    "id"              varchar(2048) not null,
    "component"       varchar(2048),
    "platform"        varchar(256),
    "topic"           varchar(65535),
    "from_time"       timestamptz not null,
    "to_time"         timestamptz not null,
    "reason"          varchar(65535),
    "estimated_posts" bigint,
    "filled"          boolean not null,
    "posts"           bigint,           -- how many were fetched since
    "created_at"      timestamptz,
    primary key ("id")
) diststyle all sortkey ("from_time");

-- Deletions as they were told, also of posts that aren't here.
create table deletions (
    "platform"    varchar(256) not null,
    "post_id"     varchar(2048) not null,   -- an id of the post, or another that it is deleted by
    "reach"       varchar(16) not null,     -- all, server or until: which posts of that id are meant
    "server"      varchar(2048) not null,
    "revision"    varchar(2048) not null,
    "deleted_at"  timestamptz not null,
    "received_at" timestamptz,
    "seen_at"     timestamptz,              -- posts until then are meant, where the reach is until
    primary key ("platform", "post_id", "reach", "server", "revision")
) distkey ("post_id") sortkey ("platform", "post_id");

-- The ledger: segments that are loaded, until no checkpoint names them any more.
create table loads (
    "segment"   varchar(2048) not null,
    "loaded_at" timestamptz not null,
    "rows"      bigint not null,
    "refused"   bigint not null,
    primary key ("segment")
) diststyle all sortkey ("segment");

-- Rows of those segments that were refused, which are dead letters of the topology.
create table refused_rows (
    "segment" varchar(2048) not null,
    "row"     integer not null,
    "error"   varchar(65535) not null,
    primary key ("segment", "row")
) diststyle all sortkey ("segment");

-- What was loaded, by minute and by who loaded it.
create table load_history (
    "minute"    timestamptz not null,
    "source"    varchar(2048) not null,
    "loads"     bigint not null,
    "rows"      bigint not null,
    "refused"   bigint not null,
    "last_load" timestamptz not null
) diststyle all sortkey ("minute");
