//! Which process listens as which consumer. Two that do would both handle each event, and each would
//! count the attempts of the other as its own.

use std::{
    collections::BTreeMap,
    process,
    sync::{Mutex, PoisonError},
};

use extendr_api::prelude::*;
use mxcrypt_core::{Result, store::Lock};

use crate::{answer::answer, arguments};

/// The locks that this process holds, by store and name, and how often: a handler may listen itself.
static HELD: Mutex<Held> = Mutex::new(Held { process: 0, locks: BTreeMap::new() });

struct Held {
    process: u32,
    locks: BTreeMap<(String, String), (Lock, usize)>,
}

fn on_held<T>(work: impl FnOnce(&mut Held) -> Result<T>) -> Result<T> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.process != process::id() {
        // After a fork they are the parent's, which ending them here would end.
        std::mem::forget(std::mem::take(&mut held.locks));
        held.process = process::id();
    }
    work(&mut held)
}

fn key(place: &Robj, name: &Robj) -> Result<(String, String)> {
    Ok((arguments::text(place, "store")?, arguments::text(name, "name")?))
}

/// The name of a lock that this process has of the store at `place`, if it has one.
pub(crate) fn lock_at(place: &str) -> Option<String> {
    let name = |held: &mut Held| {
        Ok(held.locks.keys().find(|(at, _)| at == place).map(|(_, name)| name.clone()))
    };
    on_held(name).unwrap_or_default()
}

/// Takes the lock `name` of a store for this process: FALSE while another one has it.
#[extendr]
fn listener_begin(place: Robj, name: Robj) -> Robj {
    answer(|| {
        let key = key(&place, &name)?;
        on_held(|held| {
            if let Some((_, times)) = held.locks.get_mut(&key) {
                *times += 1;
                return Ok(true);
            }
            let lock = Lock::take(&key.0, &key.1)?;
            Ok(lock.map(|lock| held.locks.insert(key, (lock, 1))).is_some())
        })
    })
}

/// Whether a lock that this process has is still its own. One that broke with its connection is taken again: FALSE if
/// another process was faster.
#[extendr]
fn listener_holds(place: Robj, name: Robj) -> Robj {
    answer(|| {
        let key = key(&place, &name)?;
        on_held(|held| {
            let Some((lock, times)) = held.locks.get_mut(&key) else { return Ok(false) };
            if lock.is_held() {
                return Ok(true);
            }
            let again = Lock::take(&key.0, &key.1)?;
            let times = *times;
            Ok(again.map(|lock| held.locks.insert(key, (lock, times))).is_some())
        })
    })
}

/// Ends what [`listener_begin`] began.
#[extendr]
fn listener_end(place: Robj, name: Robj) -> Robj {
    answer(|| {
        let key = key(&place, &name)?;
        on_held(|held| {
            if let Some((_, times)) = held.locks.get_mut(&key) {
                *times -= 1;
                if *times == 0 {
                    held.locks.remove(&key);
                }
            }
            Ok(())
        })
    })
}

extendr_module! {
    mod listener;
    fn listener_begin;
    fn listener_holds;
    fn listener_end;
}
