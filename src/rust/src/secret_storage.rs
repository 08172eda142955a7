//! Secret storage, for R.
//!
//! A verb makes a handle of what was given, and one of the account data with that, and passes on
//! only these: account data is parsed once each time it is fetched, and a passphrase is derived once.

use std::rc::Rc;

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    judgement::secret_storage::{SecretStorage, StorageSecret},
    machine::Machine,
    primitives::{key_backup::SECRET, passphrase::Passphrase},
};
use zeroize::Zeroizing;

use crate::{
    answer::{answer, optional_string, record, string, strings},
    arguments,
    clock::now,
    handle::{Held, keep, with},
    machine::on,
};

/// A secret that was fetched: R holds a handle and not its text.
pub(crate) struct Secret(Zeroizing<String>);

impl Held for Secret {
    const NAME: &'static str = "a secret";
    const OUTLIVES_FORK: bool = true;
}

/// What a caller gave to open secret storage with.
struct Given {
    recovery_key: Option<Zeroizing<String>>,
    passphrase: Option<Passphrase>,
}

impl Held for Rc<Given> {
    const NAME: &'static str = "a recovery key or a passphrase";
    const OUTLIVES_FORK: bool = true;
}

/// Secret storage as the account data shows it, with what opens it if that is known.
pub(crate) struct Storage {
    pub(crate) contents: Rc<SecretStorage>,
    given: Option<Rc<Given>>,
}

impl Held for Storage {
    const NAME: &'static str = "secret storage";
    const OUTLIVES_FORK: bool = true;
}

impl Storage {
    fn optional_secret(&self) -> Option<StorageSecret<'_>> {
        let given = self.given.as_ref()?;
        let recovery_key = given.recovery_key.as_deref();
        let recovery_key = recovery_key.map(|text| StorageSecret::RecoveryKey(text));
        recovery_key.or_else(|| self.passphrase().map(StorageSecret::Passphrase))
    }

    pub(crate) fn secret(&self) -> Result<StorageSecret<'_>> {
        let missing = || Error::new(Kind::RecoveryKey, "A recovery key is needed.");
        self.optional_secret().ok_or_else(missing)
    }

    /// The passphrase, also where a recovery key was given with it.
    pub(crate) fn passphrase(&self) -> Option<&Passphrase> {
        self.given.as_ref()?.passphrase.as_ref()
    }
}

/// Does `work` with the machine and secret storage.
pub(crate) fn on_storage<T: Into<Robj>>(
    handle: &Robj,
    storage: &Robj,
    mut work: impl FnMut(&mut Machine, &Storage) -> Result<T>,
) -> Robj {
    on(handle, |machine| with(storage, |storage: &mut Storage| work(machine, storage)))
}

/// A passphrase that is to be set, or none.
pub(crate) fn passphrase_to_set(value: &Robj) -> Result<Option<Passphrase>> {
    Ok(arguments::optional_text(value, "new_passphrase")?.map(Passphrase::new))
}

/// Account data that is to be put, as columns.
pub(crate) fn types_and_contents(data: &[(String, String)]) -> Robj {
    record([
        ("type", strings(data.iter().map(|(event_type, _)| Some(event_type.as_str())))),
        ("content", strings(data.iter().map(|(_, content)| Some(content.as_str())))),
    ])
}

/// What opens secret storage, for as long as one call lasts.
#[extendr]
fn storage_secret_new(recovery_key: Robj, passphrase: Robj) -> Robj {
    answer(|| {
        let recovery_key = arguments::optional_text(&recovery_key, "recovery_key")?;
        let passphrase = arguments::optional_text(&passphrase, "passphrase")?;
        Ok(keep(Rc::new(Given {
            recovery_key: recovery_key.map(Zeroizing::new),
            passphrase: passphrase.map(Passphrase::new),
        })))
    })
}

/// Secret storage in the response to an initial sync.
#[extendr]
fn secret_storage_read(account_data: Robj) -> Robj {
    answer(|| {
        let contents = SecretStorage::read(&arguments::body(&account_data, "account_data")?)?;
        Ok(keep(Storage { contents: Rc::new(contents), given: None }))
    })
}

/// The same secret storage, with what opens it.
#[extendr]
fn secret_storage_with(storage: Robj, given: Robj) -> Robj {
    answer(|| {
        let given = with(&given, |given: &mut Rc<Given>| Ok(given.clone()))?;
        with(&storage, |storage: &mut Storage| {
            Ok(keep(Storage { contents: storage.contents.clone(), given: Some(given) }))
        })
    })
}

/// Its default key, the secrets under that, and its keys, as columns.
#[extendr]
fn secret_storage_describe(storage: Robj) -> Robj {
    answer(|| with(&storage, |storage: &mut Storage| Ok(described(&storage.contents))))
}

fn described(storage: &SecretStorage) -> Robj {
    let default = storage.default_key();
    let secrets = default.map(|key_id| storage.encrypted_with(key_id)).unwrap_or_default();
    let keys = storage.keys();
    let flags = |flags: Vec<bool>| -> Robj { flags.into() };
    let columns = record([
        ("key_id", strings(keys.iter().map(|key| Some(key.key_id.as_str())))),
        ("name", strings(keys.iter().map(|key| key.name.as_deref()))),
        ("default", flags(keys.iter().map(|key| key.default).collect())),
        ("from_passphrase", flags(keys.iter().map(|key| key.from_passphrase).collect())),
    ]);
    record([
        ("default_key", optional_string(default)),
        ("described", keys.iter().any(|key| key.default).into()),
        ("backup_wanted", storage.backup_wanted().map_or_else(|| ().into(), Robj::from)),
        ("secrets", strings(secrets.iter().map(|name| Some(*name)))),
        ("elsewhere", elsewhere(storage, &secrets)),
        ("backup_key", optional_string(storage.digest(SECRET).as_deref())),
        ("keys", columns),
    ])
}

/// The secrets that only other keys than the default one open, and which keys these are.
fn elsewhere(storage: &SecretStorage, under_default: &[&str]) -> Robj {
    let names = storage.secrets().map(|(name, _)| name);
    let others = names.filter(|name| !under_default.contains(name));
    let (names, keys): (Vec<_>, Vec<_>) = others
        .map(|name| (name, storage.keys_of(name).join(" or ")))
        .filter(|(_, keys)| !keys.is_empty())
        .unzip();
    record([
        ("name", strings(names.into_iter().map(Some))),
        ("keys", strings(keys.iter().map(|keys| Some(keys.as_str())))),
    ])
}

/// The id of the key that what was given opens.
#[extendr]
fn secret_storage_key(storage: Robj) -> Robj {
    answer(|| {
        with(&storage, |storage: &mut Storage| {
            Ok(string(&storage.contents.open(storage.secret()?)?.key_id))
        })
    })
}

/// A handle of a secret, or `NULL` where there is none of this name.
#[extendr]
fn secret_storage_fetch(storage: Robj, name: Robj) -> Robj {
    answer(|| {
        let name = arguments::text(&name, "name")?;
        with(&storage, |storage: &mut Storage| {
            let secret = storage.contents.fetch(&name, storage.secret()?)?;
            Ok(secret.map_or_else(|| ().into(), |text| keep(Secret(text))))
        })
    })
}

#[extendr]
fn secret_text(handle: Robj) -> Robj {
    answer(|| with(&handle, |secret: &mut Secret| Ok(string(&secret.0))))
}

#[extendr]
fn machine_seal_secret(handle: Robj, storage: Robj, name: Robj, value: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let name = arguments::text(&name, "name")?;
        let value = Zeroizing::new(arguments::text(&value, "value")?);
        let secret = storage.secret()?;
        let content = machine.seal_secret(&storage.contents, secret, &name, &value)?;
        Ok(optional_string(content.as_deref()))
    })
}

/// What secret storage lacks of the private keys that are here.
#[extendr]
fn machine_seal_held_secrets(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let sealed = machine.seal_held_secrets(&storage.contents, storage.secret()?)?;
        Ok(types_and_contents(&sealed))
    })
}

#[extendr]
fn machine_key_change_under_way(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        machine.key_change_under_way(&storage.contents)
    })
}

#[extendr]
fn machine_begin_key_change(handle: Robj, storage: Robj, new_passphrase: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        let passphrase = passphrase_to_set(&new_passphrase)?;
        let secret = storage.optional_secret();
        machine.begin_key_change(now(), &storage.contents, secret, passphrase.as_ref())
    })
}

#[extendr]
fn machine_key_change_writes(handle: Robj, storage: Robj) -> Robj {
    on_storage(&handle, &storage, |machine, storage| {
        Ok(types_and_contents(&machine.key_change_writes(now(), &storage.contents)?))
    })
}

extendr_module! {
    mod secret_storage;
    fn storage_secret_new;
    fn secret_storage_read;
    fn secret_storage_with;
    fn secret_storage_describe;
    fn secret_storage_key;
    fn secret_storage_fetch;
    fn secret_text;
    fn machine_seal_secret;
    fn machine_seal_held_secrets;
    fn machine_key_change_under_way;
    fn machine_begin_key_change;
    fn machine_key_change_writes;
}
