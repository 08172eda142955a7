//! What our user decides about the identities and devices of others.

use super::{
    Machine, Millis, devices,
    effects::{self, Effect},
    trust_changes, user_trust,
};
use crate::{
    error::Result,
    store::records::{Device, Identity, LocalTrust},
};

impl Machine {
    /// Accepts the identity that the server returns for a user now, verified or not. That the user
    /// had another one that was verified is forgotten.
    ///
    /// # Errors
    /// [`Kind::Identity`] when there is none.
    pub fn pin_identity(&mut self, now: Millis, user_id: &str) -> Result<()> {
        self.work(now, |work| {
            let shown = user_trust::known_identity(work, user_id)?;
            let pinned = shown.master_key.clone();
            // What is verified without being asked stays so.
            let was_verified = user_trust::is_verified(work, &shown)?;
            trust_changes::telling(work, &[user_id], |work| {
                user_trust::put_identity(work, &Identity { pinned, was_verified, ..shown })
            })
        })
    }

    /// Applies what our user decided about a device, whose fingerprint the caller has compared if
    /// it is to be relied on.
    ///
    /// # Errors
    /// [`Kind::Identity`] when the device is not known, or has another fingerprint.
    pub fn set_local_trust(
        &mut self,
        now: Millis,
        user_id: &str,
        device_id: &str,
        fingerprint: Option<&str>,
        local: LocalTrust,
    ) -> Result<()> {
        self.work(now, |work| {
            let device = devices::known_device(work, user_id, device_id)?;
            if let Some(fingerprint) = fingerprint {
                user_trust::check_fingerprint(&device, fingerprint)?;
            }
            trust_changes::telling(work, &[user_id], |work| {
                work.tx.put(&Device { local, ..device })?;
                effects::push(work, Effect::RecipientsChanged { user_id: user_id.to_owned() });
                Ok(())
            })
        })
    }
}
