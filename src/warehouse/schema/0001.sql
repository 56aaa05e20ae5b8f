-- The warehouse, version 1. Runs in one transaction, with the warehouse's schema as search_path.
-- Times are UTC. Ids are text, since no other type keeps every platform's digits.

create table schema_versions (
    version    integer primary key,
    applied_at timestamptz not null default now()
);

-- The time by which a post is filed, once for each post: the first known time wins, since a unique
-- index of a table that is partitioned by month can't say that a post is there only once. Whoever
-- writes a post, its counts or its deletion locks its row here first, in the order of the key.
create table post_keys (
    platform   text collate "C" not null,
    post_id    text collate "C" not null,
    created_at timestamptz,             -- null: only its deletion is known so far
    other_id   text collate "C",        -- another id by which a deletion may name it
    primary key (platform, post_id)
) with (fillfactor = 90);
create index post_keys_other_id on post_keys (platform, other_id) where other_id is not null;
create index post_keys_created_at on post_keys using brin (created_at);

-- One row for each post: its newest version, with its newest counts.
create table posts (
    platform        text collate "C" not null,
    post_id         text collate "C" not null,
    created_at      timestamptz not null,   -- as post_keys has it
    received_at     timestamptz,
    edited_at       timestamptz,
    deleted_at      timestamptz,            -- its text, raw, media, and what was taken from its text are null then
    kind            text,
    author_id       text,
    author_handle   text,
    lang            text,
    lang_source     text,
    text            text,
    hashtags        text[],
    cashtags        text[],
    mentions        text[],
    urls            text[],
    domains         text[],
    media           text[],
    relation        text,
    reply_to        text,
    repost_of       text,
    quote_of        text,
    conversation_id text,
    likes           bigint,
    reposts         bigint,
    replies         bigint,
    quotes          bigint,
    views           bigint,
    bookmarks       bigint,
    sentiment       double precision,
    topics          text[],
    raw             jsonb,
    loaded_at       timestamptz default now(),
    counted_at      timestamptz,            -- when the counts were read
    is_reading      boolean not null default false,  -- only a later reading for its counts is known
    revision        text,                   -- what tells versions with the same id apart
    servers         text[],                 -- the servers that it names as its own
    primary key (platform, post_id, created_at)
) partition by range (created_at);
create index posts_created_at on posts using brin (created_at);
create index posts_author on posts (platform, author_id, created_at);
create index posts_hashtags on posts using gin (hashtags);
create index posts_text on posts using gin (to_tsvector('simple', text));

create table authors (
    platform   text collate "C" not null,
    author_id  text collate "C" not null,
    handle     text,
    name       text,
    followers  bigint,
    following  bigint,
    posts      bigint,
    verified   boolean,
    bot        boolean,
    created_at timestamptz,
    first_seen timestamptz,             -- the times of the oldest and the newest of the author's posts
    last_seen  timestamptz,
    primary key (platform, author_id)
) with (fillfactor = 80);

create table post_hashtags (
    platform   text collate "C" not null,
    post_id    text collate "C" not null,
    created_at timestamptz not null,
    hashtag    text not null,
    primary key (platform, post_id, created_at, hashtag)
) partition by range (created_at);
create index post_hashtags_hashtag on post_hashtags (hashtag, created_at);

create table post_mentions (
    platform   text collate "C" not null,
    post_id    text collate "C" not null,
    created_at timestamptz not null,
    mention    text not null,
    primary key (platform, post_id, created_at, mention)
) partition by range (created_at);
create index post_mentions_mention on post_mentions (mention, created_at);

-- An address may be longer than an index takes, so that its place in the post is its key.
create table post_urls (
    platform   text collate "C" not null,
    post_id    text collate "C" not null,
    created_at timestamptz not null,
    place      integer not null,
    url        text not null,
    domain     text,
    primary key (platform, post_id, created_at, place)
) partition by range (created_at);
create index post_urls_domain on post_urls (domain, created_at);

-- The counts of posts over time: one row for each reading that has any.
create table engagement (
    platform  text collate "C" not null,
    post_id   text collate "C" not null,
    at        timestamptz not null,
    likes     bigint,
    reposts   bigint,
    replies   bigint,
    quotes    bigint,
    views     bigint,
    bookmarks bigint,
    primary key (platform, post_id, at)
) partition by range (at);
create index engagement_at on engagement using brin (at);

create table trends (
    key_type     text not null,
    key          text not null,
    bucket_start timestamptz not null,
    started_at   timestamptz,
    peak_at      timestamptz,
    count        bigint,
    baseline     double precision,
    score        double precision,
    p_value      double precision,
    authors      bigint,
    sample_posts text[],
    why          text,
    primary key (key_type, key, bucket_start)
);
create index trends_bucket_start on trends (bucket_start);

-- From when to when posts may be missing, and why.
create table gaps (
    id              text primary key,
    component       text,
    platform        text,
    topic           text,
    from_time       timestamptz not null,
    to_time         timestamptz not null,
    reason          text,
    estimated_posts bigint,
    filled          boolean not null default false,
    posts           bigint,             -- how many were fetched since
    created_at      timestamptz
);
create index gaps_from_time on gaps (from_time);

-- Deletions as they were told, also of posts that aren't here.
create table deletions (
    platform    text collate "C" not null,
    post_id     text collate "C" not null,   -- an id of the post, or another that it is deleted by
    reach       text not null,               -- all, server or until: which posts of that id are meant
    server      text not null default '',
    revision    text not null default '',
    deleted_at  timestamptz not null,
    received_at timestamptz,
    seen_at     timestamptz,                 -- posts until then are meant, where the reach is until
    primary key (platform, post_id, reach, server, revision)
);

-- The ledger: segments that are loaded, until no checkpoint names them any more.
create table loads (
    segment   text collate "C" primary key,
    loaded_at timestamptz not null default now(),
    rows      bigint not null default 0,
    refused   bigint not null default 0
);

-- Rows of those segments that were refused, which are dead letters of the topology.
create table refused_rows (
    segment text collate "C" not null references loads on delete cascade,
    row     integer not null,
    error   text not null,
    primary key (segment, row)
);

-- What was loaded, by minute and by who loaded it, for `warehouse status`.
create table load_history (
    minute    timestamptz not null,
    source    text not null,
    loads     bigint not null,
    rows      bigint not null,
    refused   bigint not null,
    last_load timestamptz not null,
    primary key (minute, source)
);

-- What is outside of the months that are made when they are needed.
create table posts_early partition of posts for values from (minvalue) to ('2000-01-01 00:00:00+00');
create table posts_late partition of posts for values from ('2100-01-01 00:00:00+00') to (maxvalue);
create table post_hashtags_early partition of post_hashtags for values from (minvalue) to ('2000-01-01 00:00:00+00');
create table post_hashtags_late partition of post_hashtags for values from ('2100-01-01 00:00:00+00') to (maxvalue);
create table post_mentions_early partition of post_mentions for values from (minvalue) to ('2000-01-01 00:00:00+00');
create table post_mentions_late partition of post_mentions for values from ('2100-01-01 00:00:00+00') to (maxvalue);
create table post_urls_early partition of post_urls for values from (minvalue) to ('2000-01-01 00:00:00+00');
create table post_urls_late partition of post_urls for values from ('2100-01-01 00:00:00+00') to (maxvalue);
create table engagement_early partition of engagement for values from (minvalue) to ('2000-01-01 00:00:00+00');
create table engagement_late partition of engagement for values from ('2100-01-01 00:00:00+00') to (maxvalue);

-- Compression by lz4 is faster, where the server has it. Servers before 14 don't know the word.
do $$
declare
    name text;
begin
    if exists (select from pg_settings
               where pg_settings.name = 'default_toast_compression' and 'lz4' = any (enumvals)) then
        foreach name in array array['posts', 'posts_early', 'posts_late'] loop
            execute format('alter table %I alter column raw set compression lz4', name);
        end loop;
    end if;
end
$$;
