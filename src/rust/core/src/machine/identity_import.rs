//! Our own identity, taken from secret storage.

use std::collections::BTreeSet;

use super::{Machine, Millis, identity, user_trust};
use crate::{
    error::{Error, Kind, Result},
    judgement::secret_storage::{SecretStorage, StorageSecret},
    primitives::cross_signing::{SigningKey, Usage},
    store::records::Identity,
};

impl Machine {
    /// Opens secret storage and takes the private parts of the published identity from it: all that
    /// this key opens. With what is here already, the one that signs devices must be among them.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`] when the key is mistyped or another's; [`Kind::SecretStorage`] when a
    /// secret does not open; [`Kind::Identity`] when one is not of the identity the server returns.
    pub fn import_identity(
        &mut self,
        now: Millis,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<()> {
        let opened = storage.open(secret)?;
        self.work(now, |work| {
            let shown = identity::identity(work, &work.own.user_id)?.ok_or_else(|| {
                Error::new(Kind::Identity, "The server shows no identity of this user.")
            })?;
            let mut own = identity::own_identity(work)?;
            // Keys of an identity that was replaced vouch for nothing any more.
            for usage in Usage::ALL {
                if !identity::holds(&own.private, Some(&shown), usage) {
                    own.private.forget(usage);
                }
            }
            let mut found = BTreeSet::new();
            for usage in Usage::ALL {
                let Some(text) = opened.secret(&usage.secret_name())? else { continue };
                let private = SigningKey::from_base64(&text)?;
                if Some(private.public()) != identity::public(&shown, usage) {
                    return Err(Error::new(
                        Kind::Identity,
                        format!(
                            "The {} key in secret storage is not the one the server shows. \
                             Another client made a new identity, or the server shows a false one.",
                            usage.as_str()
                        ),
                    ));
                }
                own.private.set(usage, private);
                found.insert(usage);
            }
            if !identity::holds(&own.private, Some(&shown), Usage::SelfSigning) {
                opened.needed(&Usage::SelfSigning.secret_name())?;
            }
            if found.contains(&Usage::Master) && shown.changed() {
                // The private part proves whose identity it is.
                let pinned = shown.master_key.clone();
                work.tx.put(&Identity { pinned, ..shown })?;
            }
            user_trust::put_own_identity(work, &own)
        })
    }
}
