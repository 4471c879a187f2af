"""SQLAlchemy and other databases: tables and mapped classes are saved, connections and engines are reported."""

from .case import read

CASES = read(
    "databases",
    r"""
== a table of SQLAlchemy's core
import sqlalchemy as sa
md = sa.MetaData(); t = sa.Table("t", md, sa.Column("a", sa.Integer))
--
assert "a" in str(sa.select(t)) and md.tables["t"] is t
== tables with keys, defaults and statements
import sqlalchemy as sa
md = sa.MetaData()
users = sa.Table("users", md, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(30), nullable=False, default=lambda: "anon"))
posts = sa.Table("posts", md, sa.Column("id", sa.Integer, primary_key=True), sa.Column("user", sa.ForeignKey("users.id")))
query = sa.select(users.c.name, sa.func.count(posts.c.id)).join(posts).group_by(users.c.name).where(users.c.id > 3)
--
assert list(posts.c.user.foreign_keys)[0].column is users.c.id and md.tables["users"] is users
assert "JOIN posts" in str(query) and query.compile().params == {"id_1": 3} and users.c.name.default.arg(None) == "anon"
== mapped classes and detached instances [or loses: Base, User, Post, user, post]
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
class Base(DeclarativeBase): pass
class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list["Post"]] = relationship(back_populates="user")
    def shout(self): return self.name.upper()
class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    user: Mapped[User] = relationship(back_populates="posts")
user = User(name="bob"); post = Post(user=user); rows = [1]
def count(): return len(rows)
--
assert user.posts == [post] and post.user is user and user.shout() == "BOB" and type(user) is User
engine = sa.create_engine("sqlite://"); Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(user); session.commit()
    assert session.scalars(sa.select(User).where(User.name == "bob")).one().posts[0].user_id == 1
-- told
assert rows == [1] and count() == 1 and sa.select(sa.literal(1)) is not None
== a mapped dataclass [or loses: Base, Item, item]
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
class Base(MappedAsDataclass, DeclarativeBase): pass
class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(default="x")
item = Item(name="q"); rows = [1]
--
assert item == Item(name="q") and repr(item).endswith("name='q')") and str(sa.select(Item)).startswith("SELECT items.id")
-- told
assert rows == [1] and sa.select(sa.literal(1)) is not None
== an engine in memory [loses: engine]
import sqlalchemy as sa
md = sa.MetaData(); t = sa.Table("t", md, sa.Column("a", sa.Integer))
engine = sa.create_engine("sqlite://"); md.create_all(engine)
with engine.begin() as connection: connection.execute(t.insert(), [{"a": 1}])
del connection
rows = [1, 2]; name = "kept"
--
assert md.tables["t"] is t and rows == [1, 2] and name == "kept" and "INSERT" in str(t.insert())
== an engine and a session that have not connected yet
import sqlalchemy as sa
from sqlalchemy.orm import Session
engine = sa.create_engine("sqlite://"); session = Session(engine); kept = [1]
--
assert kept == [1] and session.execute(sa.select(sa.literal(1))).scalar() == 1 and session.get_bind() is engine
== an engine and a session that are connected [loses: done, engine, session]
import sqlalchemy as sa
from sqlalchemy.orm import Session
engine = sa.create_engine("sqlite://"); session = Session(engine); kept = [1]; done = session.execute(sa.text("create table t (x)"))
--
assert kept == [1] and sa.select(sa.literal(1)) is not None
== instances that a session has loaded [loses: engine] [or loses: Base, User, users]
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
class Base(DeclarativeBase): pass
class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
engine = sa.create_engine("sqlite:///users.db"); Base.metadata.create_all(engine)
with Session(engine, expire_on_commit=False) as session:
    session.add_all([User(name="a"), User(name="b")]); session.commit()
    users = session.scalars(sa.select(User).order_by(User.id)).all()
del session
--
assert [u.name for u in users] == ["a", "b"] and type(users[0]) is User and sa.inspect(users[0]).detached
with Session(sa.create_engine("sqlite:///users.db")) as session:
    merged = session.merge(users[0]); merged.name = "z"; session.commit()
    assert session.get(User, 1).name == "z"
-- told
with sa.create_engine("sqlite:///users.db").connect() as connection: assert connection.execute(sa.text("select name from users")).all() == [("a",), ("b",)]
== types and events of cells
import sqlalchemy as sa
class Upper(sa.types.TypeDecorator):
    impl = sa.String
    cache_ok = True
    def process_bind_param(self, value, dialect): return value.upper()
t = sa.Table("t", sa.MetaData(), sa.Column("a", Upper(10)), sa.CheckConstraint("a <> ''"))
--
assert type(t.c.a.type) is Upper and t.c.a.type.process_bind_param("x", None) == "X" and t.c.a.type.impl.length == 10
== a connection of sqlite3 in memory [loses: db, cursor]
import sqlite3
db = sqlite3.connect(":memory:"); db.execute("create table t(a)"); cursor = db.execute("select 1"); rows = [(1,)]
--
assert rows == [(1,)] and sqlite3.connect(":memory:").execute("select 2").fetchone() == (2,)
== a connection of duckdb [loses: con]
import duckdb
con = duckdb.connect(); con.sql("create table t as select 42 as a"); rows = con.sql("select * from t").fetchall()
--
assert rows == [(42,)] and duckdb.connect().sql("select 1").fetchall() == [(1,)]
== a relation of duckdb, and the frames that it gave [loses: relation]
import duckdb, pandas as pd
frame = duckdb.sql("select 1 as a, 'x' as b").df(); relation = duckdb.sql("select 2 as c"); table = duckdb.sql("select 3 as d").to_arrow_table()
--
assert frame["a"].tolist() == [1] and table["d"].to_pylist() == [3] and type(frame) is pd.DataFrame
== a file of duckdb's in the workspace
import duckdb
with duckdb.connect("db.duckdb") as con: con.sql("create table t as select 7 as a")
del con
--
with duckdb.connect("db.duckdb") as again: assert again.sql("select a from t").fetchall() == [(7,)]
""",
)
