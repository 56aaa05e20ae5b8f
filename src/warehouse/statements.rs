//! The statements of a load. They are sent as text and planned each time, since a plan that was
//! made for empty tables would be kept when the tables are large.

/// The temporary tables of a session, which each commit empties.
pub(super) const STAGING: &str = "\
create temporary table staged_keys (ordinal integer, platform text collate \"C\", post_id text \
collate \"C\", \
created_at timestamptz, other_id text collate \"C\") on commit delete rows;
create temporary table staged_posts (like posts, wins integer) on commit delete rows;
create temporary table staged_authors (like authors) on commit delete rows;
create temporary table staged_engagement (like engagement) on commit delete rows;
create temporary table staged_deletions (like deletions) on commit delete rows;
create temporary table staged_trends (like trends) on commit delete rows;";

/// Empties the temporary tables within a transaction.
pub(super) const UNSTAGE: &str = "truncate pg_temp.staged_keys, pg_temp.staged_posts, \
    pg_temp.staged_authors, \
                       pg_temp.staged_engagement, pg_temp.staged_deletions, pg_temp.staged_trends";

/// Locks the keys in their order, and returns those that are new.
pub(super) const LOCK_KEYS: &str = "\
with locked as (
    insert into post_keys as k (platform, post_id, created_at, other_id)
    select platform, post_id, created_at, other_id from pg_temp.staged_keys order by platform, \
    post_id
    on conflict (platform, post_id) do update
    set created_at = coalesce(k.created_at, excluded.created_at),
        other_id = coalesce(k.other_id, excluded.other_id)
    where k.created_at is null and excluded.created_at is not null
        or k.other_id is null and excluded.other_id is not null
    returning k.platform, k.post_id, k.xmax = 0 as is_new
)
select platform, post_id from locked where is_new";

/// Deletes keys that have neither a post nor a deletion: their posts were refused.
pub(super) const DELETE_KEY: &str = "\
delete from post_keys k where platform = $1 and post_id = $2
and not exists (select from deletions d where d.platform = k.platform and d.post_id = k.post_id)
and not exists (select from posts p
    where p.platform = k.platform and p.post_id = k.post_id and p.created_at = k.created_at)";

// The planner may reverse a join and read a large table completely, because it has no statistics of
// a table that was just filled. `offset 0` keeps the order, so that each row is looked up.

/// The known facts of the posts with such keys.
pub(super) const KNOWN: &str = "\
select s.ordinal, k.created_at, p.post_id is not null, p.is_reading, p.edited_at, p.received_at, \
p.counted_at
from (select * from pg_temp.staged_keys where ordinal = any($1) offset 0) s
cross join lateral (select * from post_keys k
    where k.platform = s.platform and k.post_id = s.post_id offset 0) k
left join lateral (select * from posts p
    where p.platform = k.platform and p.post_id = k.post_id and p.created_at = k.created_at offset \
    0) p on true";

/// The deletions that name the posts.
pub(super) const DELETIONS: &str = "\
select s.ordinal, d.post_id, d.reach, d.server, d.revision, d.deleted_at, d.seen_at
from pg_temp.staged_keys s cross join lateral (select * from deletions d
    where d.platform = s.platform and d.post_id = s.post_id offset 0) d
union all
select s.ordinal, d.post_id, d.reach, d.server, d.revision, d.deleted_at, d.seen_at
from pg_temp.staged_keys s cross join lateral (select * from deletions d
    where d.platform = s.platform and d.post_id = s.other_id and d.reach <> 'all' offset 0) d
where s.other_id is not null";

/// Adds deletions; the earliest time counts, and the latest limit of deletions that cover posts up
/// to a time.
pub(super) const ADD_DELETIONS: &str = "\
insert into deletions as d
select * from pg_temp.staged_deletions order by platform, post_id, reach, server, revision
on conflict (platform, post_id, reach, server, revision) do update
set deleted_at = least(d.deleted_at, excluded.deleted_at),
    received_at = least(d.received_at, excluded.received_at),
    seen_at = greatest(d.seen_at, excluded.seen_at)
where excluded.deleted_at < d.deleted_at or excluded.received_at < d.received_at
    or d.seen_at is distinct from greatest(d.seen_at, excluded.seen_at)";

/// The stored posts that deletions name.
pub(super) const NAMED: &str = "\
select 0, d.post_id, d.reach, d.server, d.revision, d.deleted_at, d.seen_at,
    p.platform, p.post_id, p.created_at, p.revision, p.servers
from pg_temp.staged_deletions d
cross join lateral (
    select platform, post_id, created_at from post_keys k
    where k.platform = d.platform and k.post_id = d.post_id
    union all
    select platform, post_id, created_at from post_keys k
    where k.platform = d.platform and k.other_id = d.post_id and d.reach <> 'all'
    offset 0) k
cross join lateral (select * from posts p
    where p.platform = k.platform and p.post_id = k.post_id and p.created_at = k.created_at offset \
    0) p
where p.deleted_at is null";

/// Makes the server look rows up by indexes, even if it takes a table to be small.
pub(super) const BY_INDEX: &str = "set local enable_seqscan to off";
pub(super) const BY_ANY_SCAN: &str = "set local enable_seqscan to on";

pub(super) const ADD_AUTHORS: &str = "\
insert into authors as a
select * from pg_temp.staged_authors order by platform, author_id
on conflict (platform, author_id) do update
set handle = case when excluded.last_seen > a.last_seen then coalesce(excluded.handle, a.handle) \
else a.handle end,
    name = case when excluded.last_seen > a.last_seen then coalesce(excluded.name, a.name) else \
    a.name end,
    followers = case when excluded.last_seen > a.last_seen then coalesce(excluded.followers, \
    a.followers) else a.followers end,
    following = case when excluded.last_seen > a.last_seen then coalesce(excluded.following, \
    a.following) else a.following end,
    posts = case when excluded.last_seen > a.last_seen then coalesce(excluded.posts, a.posts) else \
    a.posts end,
    verified = case when excluded.last_seen > a.last_seen then coalesce(excluded.verified, \
    a.verified) else a.verified end,
    bot = case when excluded.last_seen > a.last_seen then coalesce(excluded.bot, a.bot) else a.bot \
    end,
    created_at = coalesce(a.created_at, excluded.created_at),
    first_seen = least(a.first_seen, excluded.first_seen),
    last_seen = greatest(a.last_seen, excluded.last_seen)
where excluded.last_seen > a.last_seen or excluded.first_seen < a.first_seen";

pub(super) const ADD_ENGAGEMENT: &str = "\
insert into engagement select * from pg_temp.staged_engagement order by platform, post_id, at on \
conflict do nothing";

pub(super) const ADD_GAP: &str = "\
insert into gaps as g (id, component, platform, topic, from_time, to_time, reason, \
estimated_posts, filled, posts, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (id) do update
set to_time = excluded.to_time, filled = excluded.filled, posts = excluded.posts
where excluded.filled and not g.filled";
