//! Typed views: what can be asked of a list, a hash, a set or a sorted set.
//!
//! A view is a client and a key; making one asks nothing and allocates nothing but the key.

mod hash;
mod list;
mod lists;
mod set_of;
mod walk;
mod zset;
mod zset_requests;
mod zsets;

pub use hash::Hash;
pub use list::{End, List, ListPosition, ListPush, ListRemove};
pub use lists::{ListPop, Lists};
pub use set_of::{SetCombine, SetOf};
pub use walk::Walk;
pub use zset::Zset;
pub use zset_requests::{Aggregate, ZsetAdd, ZsetCombine, ZsetRange};
pub use zsets::{ZsetPop, Zsets};

use crate::request::shape::Shape;
use crate::request::{Operation, Read, Write};
use crate::{Client, Key};

impl Client {
    /// The list at a key.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// let jobs = kv.list("jobs");
    /// assert_eq!(jobs.rpush(["a", "b", "c"]).await?, 3);
    /// assert_eq!(jobs.lpop().await?.as_deref(), Some(&b"a"[..]));
    /// assert_eq!(jobs.range(0, -1).await?, ["b", "c"]);
    /// // Takes the next one as soon as there is one.
    /// let next = jobs.wait_lpop(std::time::Duration::from_secs(5)).await?;
    /// assert_eq!(next.as_deref(), Some(&b"b"[..]));
    /// # Ok(())
    /// # });
    /// ```
    pub fn list(&self, key: impl Into<Key>) -> List<'_> {
        List(View { client: self, key: key.into() })
    }

    /// Several lists, of which the first that has elements is meant.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use std::time::Duration;
    ///
    /// kv.list("jobs").rpush(["a", "b"]).await?;
    /// let lists = kv.lists(["urgent", "jobs"]);
    /// if let Some((key, elements)) = lists.wait_lpop(Duration::from_secs(5)).await? {
    ///     assert_eq!((key.as_ref(), &*elements), (&b"jobs"[..], &["a".into()][..]));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn lists<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> Lists<'_> {
        Lists { client: self, keys: keys.into_iter().map(Into::into).collect() }
    }

    /// The hash at a key.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// let user = kv.hash("user:1");
    /// user.set_all([("name", "alice"), ("visits", "1")]).await?;
    /// assert_eq!(user.get("name").await?.as_deref(), Some(&b"alice"[..]));
    /// assert_eq!(user.incr("visits", 1).await?, 2);
    /// assert_eq!(user.get_all().await?.len(), 2);
    /// # Ok(())
    /// # });
    /// ```
    pub fn hash(&self, key: impl Into<Key>) -> Hash<'_> {
        Hash(View { client: self, key: key.into() })
    }

    /// The set at a key.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// // What lies between braces decides where a key is: these two can be compared.
    /// let (mine, yours) = (kv.set_of("{tags}:mine"), kv.set_of("{tags}:yours"));
    /// mine.add(["rust", "redis"]).await?;
    /// yours.add(["rust", "etcd"]).await?;
    /// assert!(mine.contains("redis").await?);
    /// assert_eq!(mine.inter(["{tags}:yours"]).await?, ["rust"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn set_of(&self, key: impl Into<Key>) -> SetOf<'_> {
        SetOf(View { client: self, key: key.into() })
    }

    /// The sorted set at a key.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// let scores = kv.zset("scores");
    /// scores.add([("alice", 7.0), ("bob", 3.5)]).await?;
    /// assert_eq!(scores.incr("bob", 1.0).await?, 4.5);
    /// assert_eq!(scores.range(0, -1).rev().await?, ["alice", "bob"]);
    /// let below_five = scores.range_by_score(..5.0).with_scores().await?;
    /// assert_eq!(below_five, [("bob".into(), 4.5)]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn zset(&self, key: impl Into<Key>) -> Zset<'_> {
        Zset(View { client: self, key: key.into() })
    }

    /// Several sorted sets, of which the first that has members is meant.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use std::time::Duration;
    ///
    /// kv.zset("due:later").add([("mail bob", 1700.0), ("mail alice", 1600.0)]).await?;
    /// if let Some((key, members)) = kv.zsets(["due:now", "due:later"]).wait_pop_min(Duration::MAX).await? {
    ///     assert_eq!((key.as_ref(), &*members), (&b"due:later"[..], &[("mail alice".into(), 1600.0)][..]));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn zsets<K: Into<Key>>(&self, keys: impl IntoIterator<Item = K>) -> Zsets<'_> {
        Zsets { client: self, keys: keys.into_iter().map(Into::into).collect() }
    }
}

/// What all views of one key are.
#[derive(Clone, Debug)]
struct View<'a> {
    client: &'a Client,
    key: Key,
}

impl<'a> View<'a> {
    fn read<T>(&self, name: &'static str, shape: Shape<T>) -> Read<'a, T> {
        Read::new(self.client, name, shape).key(self.key.clone())
    }

    fn write<T>(&self, name: &'static str, shape: Shape<T>) -> Write<'a, T> {
        Write::new(self.client, name, shape).key(self.key.clone())
    }

    fn read_of<T>(&self, operation: Operation<T>) -> Read<'a, T> {
        Read::of(self.client, operation)
    }

    /// This key, and others behind it.
    fn and(&self, others: impl IntoIterator<Item = impl Into<Key>>) -> Vec<Key> {
        std::iter::once(self.key.clone()).chain(others.into_iter().map(Into::into)).collect()
    }
}
