-- A thousand users, of whom most have not been here for long.
create extension pg_stat_statements;

create table users (
    id bigint primary key,
    name text not null,
    email text not null unique,
    last_login timestamptz not null,
    password_hash text not null
);

insert into users
select id, 'User ' || id, 'user' || id || '@example.org', now() - id * interval '1 hour', md5(id::text)
from generate_series(1, 1000) as id;

-- As slow as a search through a real table, so that it is worth having the answer before it is asked for.
create function search_users(term text) returns table (id bigint, name text) language sql stable as $$
    with slow as materialized (select pg_sleep(0.3))
    select users.id, users.name
    from slow, users
    where users.name ilike '%' || term || '%'
    order by last_login desc
    limit 20
$$;

create table announcements (
    id bigint primary key,
    body text not null
);

insert into announcements values (1, 'The office is closed on Friday.'), (2, 'There is cake.');
