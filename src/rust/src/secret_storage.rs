//! Secret storage, for R.

use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind, Result,
    judgement::secret_storage::{SecretStorage, StorageSecret},
    primitives::key_backup::SECRET,
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
pub(crate) struct Given {
    recovery_key: Option<String>,
    pub(crate) passphrase: Option<String>,
}

impl Given {
    pub(crate) fn read(recovery_key: &Robj, passphrase: &Robj) -> Result<Self> {
        let recovery_key = arguments::optional_text(recovery_key, "recovery_key")?;
        let passphrase = arguments::optional_text(passphrase, "passphrase")?;
        Ok(Self { recovery_key, passphrase })
    }

    fn optional(&self) -> Option<StorageSecret<'_>> {
        let recovery_key = self.recovery_key.as_deref().map(StorageSecret::RecoveryKey);
        recovery_key.or_else(|| self.passphrase.as_deref().map(StorageSecret::Passphrase))
    }

    pub(crate) fn secret(&self) -> Result<StorageSecret<'_>> {
        let missing = || Error::new(Kind::RecoveryKey, "A recovery key is needed.");
        self.optional().ok_or_else(missing)
    }
}

/// Secret storage in the answer to an initial sync.
pub(crate) fn secret_storage(account_data: &Robj) -> Result<SecretStorage> {
    SecretStorage::read(&arguments::body(account_data, "account_data")?)
}

/// Account data that is to be put, as columns.
pub(crate) fn types_and_contents(data: &[(String, String)]) -> Robj {
    record([
        ("type", strings(data.iter().map(|(event_type, _)| Some(event_type.as_str())))),
        ("content", strings(data.iter().map(|(_, content)| Some(content.as_str())))),
    ])
}

/// Its default key, the secrets under that, and its keys, as columns.
#[extendr]
fn secret_storage_describe(account_data: Robj) -> Robj {
    answer(|| {
        let storage = secret_storage(&account_data)?;
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
        Ok(record([
            ("default_key", optional_string(default)),
            ("described", keys.iter().any(|key| key.default).into()),
            ("backup_wanted", storage.backup_wanted().map_or_else(|| ().into(), Robj::from)),
            ("secrets", strings(secrets.iter().map(|name| Some(*name)))),
            ("elsewhere", elsewhere(&storage, &secrets)),
            ("backup_key", optional_string(storage.digest(SECRET).as_deref())),
            ("keys", columns),
        ]))
    })
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
fn secret_storage_key(account_data: Robj, recovery_key: Robj, passphrase: Robj) -> Robj {
    answer(|| {
        let storage = secret_storage(&account_data)?;
        let given = Given::read(&recovery_key, &passphrase)?;
        Ok(string(&storage.open(given.secret()?)?.key_id))
    })
}

/// A handle of a secret, or `NULL` where there is none of this name.
#[extendr]
fn secret_storage_fetch(
    account_data: Robj,
    name: Robj,
    recovery_key: Robj,
    passphrase: Robj,
) -> Robj {
    answer(|| {
        let storage = secret_storage(&account_data)?;
        let given = Given::read(&recovery_key, &passphrase)?;
        let secret = storage.fetch(&arguments::text(&name, "name")?, given.secret()?)?;
        Ok(secret.map_or_else(|| ().into(), |text| keep(Secret(text))))
    })
}

#[extendr]
fn secret_text(handle: Robj) -> Robj {
    answer(|| with(&handle, |secret: &mut Secret| Ok(string(&secret.0))))
}

#[extendr]
fn machine_seal_secret(
    handle: Robj,
    account_data: Robj,
    name: Robj,
    value: Robj,
    recovery_key: Robj,
    passphrase: Robj,
) -> Robj {
    on(&handle, |machine| {
        let storage = secret_storage(&account_data)?;
        let given = Given::read(&recovery_key, &passphrase)?;
        let name = arguments::text(&name, "name")?;
        let value = Zeroizing::new(arguments::text(&value, "value")?);
        let content = machine.seal_secret(&storage, given.secret()?, &name, &value)?;
        Ok(optional_string(content.as_deref()))
    })
}

/// What secret storage lacks of the private keys that are here.
#[extendr]
fn machine_seal_held_secrets(
    handle: Robj,
    account_data: Robj,
    recovery_key: Robj,
    passphrase: Robj,
) -> Robj {
    on(&handle, |machine| {
        let storage = secret_storage(&account_data)?;
        let given = Given::read(&recovery_key, &passphrase)?;
        Ok(types_and_contents(&machine.seal_held_secrets(&storage, given.secret()?)?))
    })
}

#[extendr]
fn machine_key_change_under_way(handle: Robj, account_data: Robj) -> Robj {
    on(&handle, |machine| machine.key_change_under_way(&secret_storage(&account_data)?))
}

#[extendr]
fn machine_begin_key_change(
    handle: Robj,
    account_data: Robj,
    recovery_key: Robj,
    passphrase: Robj,
    new_passphrase: Robj,
) -> Robj {
    on(&handle, |machine| {
        let given = Given::read(&recovery_key, &passphrase)?;
        let new_passphrase = arguments::optional_text(&new_passphrase, "new_passphrase")?;
        let storage = secret_storage(&account_data)?;
        machine.begin_key_change(now(), &storage, given.optional(), new_passphrase.as_deref())
    })
}

#[extendr]
fn machine_key_change_writes(handle: Robj, account_data: Robj) -> Robj {
    on(&handle, |machine| {
        let writes = machine.key_change_writes(now(), &secret_storage(&account_data)?)?;
        Ok(types_and_contents(&writes))
    })
}

extendr_module! {
    mod secret_storage;
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
