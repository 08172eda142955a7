//! A device moves here from another package, with its account and what it can read.

use std::path::Path;

use super::{Machine, Millis, Work, inbound_sessions, own_account::bind_account};
use crate::{
    error::{Error, Kind, Result},
    judgement::{identifier, keys_query},
    store::{
        mx_client::{MxClientStore, ReadingSession},
        records::{InboundSession, KeySource, OlmSession, OwnAccount},
    },
};

/// Reads the store of mx.client in `directory`. A session of a room that no identifier names is among
/// those that cannot be used; a sender that is no user is none.
///
/// # Errors
/// [`Kind::StoreForeign`] when there is none, or its account cannot be used.
pub fn read_mx_client_store(directory: &Path) -> Result<MxClientStore> {
    let mut store = MxClientStore::read(directory)?;
    for session in std::mem::take(&mut store.inbound) {
        match usable(session) {
            Ok(session) => store.inbound.push(session),
            Err(refused) => store.refused.push(refused),
        }
    }
    Ok(store)
}

/// A session of a store of mx.client, or its place in that store and why it cannot be used.
fn usable(mut session: ReadingSession) -> Result<ReadingSession, (String, Error)> {
    if identifier::is_sound(&session.room_id) {
        session.sender = session.sender.filter(|sender| identifier::is_user_id(sender));
        return Ok(session);
    }
    let place = match session.own {
        true => session.room_id,
        false => format!("{}|{}", session.room_id, session.session.session_id()),
    };
    Err((place, Error::new(Kind::Megolm, "It is for no room.")))
}

/// Checks that `body`, the response to `/keys/query`, has the keys in `store` for the device
/// `device_id` of `user_id`, or none yet.
///
/// # Errors
/// [`Kind::Answer`]; [`Kind::OwnKeys`] when they are others.
pub fn check_published(
    store: &MxClientStore,
    body: &str,
    user_id: &str,
    device_id: &str,
) -> Result<()> {
    let told = keys_query::judge(body, &[user_id.to_owned()].into())?;
    let published = told.devices.into_iter().find(|device| device.device_id == device_id);
    let Some(published) = published else { return Ok(()) };
    let own = store.identity_keys();
    let same = published
        .keys
        .is_ok_and(|keys| keys.identity_key == own.curve25519 && keys.signing_key == own.ed25519);
    if same {
        return Ok(());
    }
    Err(Error::new(
        Kind::OwnKeys,
        format!(
            "The server shows other keys of device {device_id} than the store of mx.client holds: \
             it is another device's, or an old copy. Nothing was imported."
        ),
    ))
}

impl Machine {
    /// Imports the device in `store`, which is `device_id` of `user_id`: all of it, or nothing. Its
    /// sessions encrypt no more: they decrypt past and future messages, and new ones are made to
    /// send.
    ///
    /// # Errors
    /// [`Kind::StoreBinding`] when a device is here already; [`Kind::StoreForeign`] when the other
    /// store was written to since it was read.
    pub fn import_store(
        &mut self,
        now: Millis,
        store: MxClientStore,
        user_id: &str,
        device_id: &str,
    ) -> Result<()> {
        store.check_unchanged()?;
        self.store.transaction(|tx| {
            if tx.get_single::<OwnAccount>()?.is_some() {
                return Err(Error::new(
                    Kind::StoreBinding,
                    "There is a device in this store already. Import into a new one: one store \
                     cannot serve two devices.",
                ));
            }
            let MxClientStore { mut account, olm, inbound, .. } = store;
            // Those that were not confirmed may have been uploaded all the same.
            account.mark_keys_as_published();
            tx.put_single(&OwnAccount { account })?;
            let own = bind_account(tx, user_id, device_id)?;
            super::within(tx, own, now, |work| {
                for (identity_key, session) in olm {
                    let session = OlmSession::new(identity_key, session, 0);
                    work.tx.put(&OlmSession { receive_only: true, ..session })?;
                }
                inbound.into_iter().try_for_each(|session| keep_imported(work, session))
            })
        })
    }
}

fn keep_imported(work: &mut Work<'_>, imported: ReadingSession) -> Result<()> {
    let own = work.own.clone();
    let (sender, sender_key, sender_signing_key) = if imported.own {
        (Some(own.user_id), own.identity_key, own.signing_key)
    } else {
        (imported.sender, String::new(), imported.sender_signing_key)
    };
    let session = InboundSession {
        sender,
        sender_key,
        sender_signing_key,
        ..InboundSession::new(imported.room_id, imported.session, KeySource::Imported)
    };
    inbound_sessions::keep_session(work, session).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::megolm;

    #[test]
    fn a_session_of_no_room_is_left_out_and_who_is_no_user_sent_nothing() {
        let judged = |room_id: &str, sender: &str, own: bool| {
            let session = megolm::inbound(&megolm::outbound().session_key().to_base64()).unwrap();
            usable(ReadingSession {
                room_id: room_id.to_owned(),
                session,
                sender: Some(sender.to_owned()),
                sender_signing_key: String::new(),
                own,
            })
        };
        let sender = |sender: &str| judged("!r", sender, false).ok().unwrap().sender;
        assert_eq!(sender("@bob:here").as_deref(), Some("@bob:here"));
        assert_eq!(sender("bob"), None);
        for room_id in ["", "!r\u{7}"] {
            let (place, _) = judged(room_id, "@bob:here", true).err().unwrap();
            assert_eq!(place, room_id);
            let (place, _) = judged(room_id, "@bob:here", false).err().unwrap();
            assert!(place.starts_with(&format!("{room_id}|")));
        }
    }
}
