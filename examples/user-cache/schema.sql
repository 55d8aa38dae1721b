-- Everything this service knows of a user. The columns of the second part are never cached, anywhere.
create extension pg_stat_statements;

create table users (
    id bigint generated always as identity primary key,
    email text not null unique,
    username text not null unique,
    phone text unique,
    first_name text not null,
    last_name text not null,
    bio text not null default '',
    avatar_url text,
    occupation text,
    location text,
    is_active boolean not null default true,
    is_admin boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    hashed_password text not null,
    two_factor_secret text not null,
    api_key text not null,
    oauth_token text not null
);
