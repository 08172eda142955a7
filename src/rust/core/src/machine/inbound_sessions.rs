//! Megolm sessions that messages are read with: which of those that came are kept, and which one
//! reads an event.

use vodozemac::megolm::SessionOrdering;

use super::Work;
use crate::{
    error::Result,
    judgement::exported_session::ExportedSession,
    store::{
        Query, Record,
        records::{Device, InboundSession, KeySource},
    },
};

/// Stands for the sender of a session where nobody says who made it.
const NOBODY: &str = "";

/// What became of a session that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It is kept: it is new, reads more than the one that was there, or proves more.
    Taken,
    /// The one that was there reads as much.
    Known,
    /// It has the name of one that is there, and is another ratchet.
    Contradicts,
}

impl Work<'_> {
    /// Keeps a session, unless the one that is there reads as much; then reads the events that
    /// waited for it.
    ///
    /// Sessions are kept by their sender too. Whoever was given a session key can hand it on in
    /// their own name, also before its maker does: that must neither replace the maker's nor keep
    /// it out.
    ///
    /// A key that is connected with the one that is there is of the same ratchet, whoever gives it: the
    /// lower index is taken, and what is known better of where it came from. One that is not connected
    /// takes the place of another only where that one proved nothing.
    pub(super) fn keep_session(&mut self, mut offered: InboundSession) -> Result<Keeping> {
        // Then this is all that the backup has of it, too.
        let backed_up = offered.source == KeySource::Backup;
        let Some(mut kept) = self.session_beside(&offered)? else {
            offered.number = self.tx.take_number("inbound session")?;
            return self.put_session(offered, backed_up);
        };
        let proves_more = offered.source.is_authentic() && !kept.source.is_authentic();
        match offered.session.compare(&mut kept.session) {
            SessionOrdering::Better if !proves_more => kept.session = offered.session,
            SessionOrdering::Equal | SessionOrdering::Worse if proves_more => {
                self.forget_session(&kept)?;
                kept = InboundSession { number: kept.number, session: kept.session, ..offered };
            }
            SessionOrdering::Better | SessionOrdering::Unconnected if proves_more => {
                self.forget_session(&kept)?;
                kept = InboundSession { number: kept.number, ..offered };
            }
            SessionOrdering::Unconnected => return Ok(Keeping::Contradicts),
            _ => return Ok(Keeping::Known),
        }
        self.put_session(kept, backed_up)
    }

    /// Keeps a session of which its file, backup or bundle, and nothing else, says who made it.
    pub(super) fn keep_exported(
        &mut self,
        exported: ExportedSession,
        source: KeySource,
        forwarder: Option<&str>,
    ) -> Result<Keeping> {
        self.keep_session(InboundSession {
            room_id: exported.room_id,
            session_id: exported.session.session_id(),
            number: 0,
            session: exported.session,
            sender: None,
            sender_key: exported.sender_key,
            sender_signing_key: exported.sender_signing_key,
            source,
            forwarder: forwarder.map(str::to_owned),
            // Whoever shares a bundle says of each key in it that it may be shared.
            shared_history: exported.shared_history || source == KeySource::Bundle,
            changed: 0,
        })
    }

    /// The session that is kept already and `offered` may join: that of the same sender; or, where
    /// one of them has no sender, that of the same device. Two rows of one ratchet would let a
    /// ciphertext stand for two events.
    fn session_beside(&self, offered: &InboundSession) -> Result<Option<InboundSession>> {
        if let Some(kept) = self.tx.get(&offered.key())? {
            return Ok(Some(kept));
        }
        let of_session = Query::equal("room_id", offered.room_id.as_str())
            .and("session_id", offered.session_id.as_str());
        let others = self.tx.select::<InboundSession>(&of_session)?;
        Ok(others.into_iter().find(|kept| {
            (kept.sender.is_none() || offered.sender.is_none())
                && kept.sender_key == offered.sender_key
        }))
    }

    /// The session that is handed on where several have the same id.
    pub(super) fn best_session(
        &self,
        room_id: &str,
        session_id: &str,
    ) -> Result<Option<InboundSession>> {
        let of_session = Query::equal("room_id", room_id).and("session_id", session_id);
        let sessions = self.tx.select::<InboundSession>(&of_session)?;
        Ok(sessions.into_iter().max_by_key(|session| session.source.is_authentic()))
    }

    fn forget_session(&mut self, session: &InboundSession) -> Result<()> {
        self.tx.delete::<InboundSession>(&session.key())?;
        self.read.remove(&place(session));
        Ok(())
    }

    fn put_session(&mut self, mut session: InboundSession, backed_up: bool) -> Result<Keeping> {
        session.changed = if backed_up { 0 } else { self.tx.take_number("session change")? };
        self.tx.put(&session)?;
        self.read.remove(&place(&session));
        self.read_waiting(&session.room_id, &session.session_id)?;
        self.key_came(&session.room_id, &session.session_id)?;
        Ok(Keeping::Taken)
    }

    /// The session that reads an event of `sender`: one that `sender` made; or else one of which
    /// nobody knows who made it, unless its device is known to be another user's.
    pub(super) fn session_of(
        &mut self,
        room_id: &str,
        session_id: &str,
        sender: &str,
    ) -> Result<Option<&mut InboundSession>> {
        let place = |sender: &str| (room_id.to_owned(), session_id.to_owned(), sender.to_owned());
        if self.load(&place(sender))? {
            return Ok(self.read.get_mut(&place(sender)));
        }
        if !self.load(&place(NOBODY))? {
            return Ok(None);
        }
        // The devices of whoever is said to have made it are wanted when its messages are judged.
        self.track(sender)?;
        match self.read.get(&place(NOBODY)) {
            Some(session) if self.is_of_another(session, sender)? => Ok(None),
            _ => Ok(self.read.get_mut(&place(NOBODY))),
        }
    }

    fn load(&mut self, place: &(String, String, String)) -> Result<bool> {
        if self.read.contains_key(place) {
            return Ok(true);
        }
        let (room_id, session_id, sender) = place;
        let found = self.tx.get(&[
            room_id.as_str().into(),
            session_id.as_str().into(),
            sender.as_str().into(),
        ])?;
        let found = found.map(|session| self.read.insert(place.clone(), session));
        Ok(found.is_some())
    }

    /// Whether the device that is said to have made `session` belongs to somebody else. Both of its
    /// keys count: anybody can publish a device with the Curve25519 key of another.
    fn is_of_another(&self, session: &InboundSession, sender: &str) -> Result<bool> {
        let key = Query::equal("identity_key", session.sender_key.as_str());
        let mut devices = self.tx.select::<Device>(&key)?;
        devices.retain(|device| device.signing_key == session.sender_signing_key);
        Ok(!devices.is_empty() && devices.iter().all(|device| device.user_id != sender))
    }
}

/// Where a session is found among those that were read.
fn place(session: &InboundSession) -> (String, String, String) {
    let sender = session.sender.clone().unwrap_or_else(|| NOBODY.to_owned());
    (session.room_id.clone(), session.session_id.clone(), sender)
}
