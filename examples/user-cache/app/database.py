"""The system of record. Every query is counted, to show what the cache saves."""

from datetime import datetime

import asyncpg

# Names are put into SQL only from these.
LOOKUPS = {"id", "email", "username", "phone"}
CHANGEABLE = {
    "email", "username", "phone", "first_name", "last_name", "bio", "avatar_url", "occupation", "location",
    "hashed_password", "is_active",
}  # fmt: skip


class Database:
    def __init__(self, url: str):
        self.url = url
        self.queries = 0
        self.users = 0

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(self.url, min_size=2, max_size=10)

    async def close(self) -> None:
        await self.pool.close()

    async def user_by(self, column: str, value: object) -> dict | None:
        """The whole row, secrets included."""
        assert column in LOOKUPS
        return await self._one(f"select * from users where {column} = $1", value)

    async def insert(self, user: dict) -> dict:
        self.users += 1
        columns, places = ", ".join(user), ", ".join(f"${n + 1}" for n in range(len(user)))
        return await self._one(f"insert into users ({columns}) values ({places}) returning *", *user.values())

    async def update(self, user_id: int, changes: dict) -> tuple[dict, dict]:
        """The row as it was and as it is. Both are needed: the old e-mail's key must leave the cache too."""
        assert changes.keys() <= CHANGEABLE
        columns = "".join(f"{name} = ${n + 2}, " for n, name in enumerate(changes))
        self.queries += 2
        async with self.pool.acquire() as connection, connection.transaction():
            before = await connection.fetchrow("select * from users where id = $1 for update", user_id)
            after = await connection.fetchrow(
                f"update users set {columns} updated_at = clock_timestamp() where id = $1 returning *",
                user_id,
                *changes.values(),
            )
        return plain(before), plain(after)

    async def _one(self, query: str, *values: object) -> dict | None:
        self.queries += 1
        row = await self.pool.fetchrow(query, *values)
        return row and plain(row)


def plain(row: asyncpg.Record) -> dict:
    """With times as JSON has them."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
