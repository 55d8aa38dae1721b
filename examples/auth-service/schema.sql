-- The app asks as `app`; whoever checks asks as `observer`, so that the app's queries can be counted apart.
create extension pg_stat_statements;
create role observer superuser login;

create table users (
    id uuid primary key default gen_random_uuid(),
    email text not null unique,
    name text not null,
    password_hash text not null,
    version bigint not null default 1,
    created_at timestamptz not null default now()
);

create table sessions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references users on delete cascade,
    token text not null unique,
    refresh_token text not null unique,
    expires_at timestamptz not null,
    created_at timestamptz not null default now()
);

create table oauth_accounts (
    user_id uuid not null references users on delete cascade,
    provider text not null,
    provider_account_id text not null,
    access_token text not null,
    primary key (user_id, provider)
);

create table user_profiles (
    user_id uuid primary key references users on delete cascade,
    bio text not null default '',
    avatar_url text,
    version bigint not null default 1
);
