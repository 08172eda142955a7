//! Decrypts the messages of a timeline ahead, on all cores: the check of a Megolm signature takes longer than
//! all else of an event. `room_events` uses what comes out when the event has its turn, if it belongs to that
//! session then. Nothing is judged here, and nothing is stored.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::Deserialize;
use vodozemac::megolm::InboundGroupSession;

use super::{
    Work,
    inbound_sessions::{self, Place},
};
use crate::{
    error::Result,
    primitives::{
        megolm::{self, Decrypted},
        parallel,
    },
    store::records::InboundSession,
};

/// What an encrypted event says of itself.
#[derive(Deserialize)]
struct Encrypted<'a> {
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(borrow)]
    ciphertext: Cow<'a, str>,
}

/// Decrypts what can be decrypted of the timeline `events`, if they are so many that threads are worth it.
pub(super) fn decrypt_ahead<'a>(
    work: &mut Work<'_>,
    room_id: &str,
    events: impl ExactSizeIterator<Item = &'a str>,
) -> Result<()> {
    if !parallel::is_spread(events.len()) {
        return Ok(());
    }
    let mut sessions: BTreeMap<Place, Vec<Cow<'a, str>>> = BTreeMap::new();
    for text in events {
        let Ok(Encrypted { sender, content }) = serde_json::from_str(text) else { continue };
        let Content { session_id, ciphertext } = content;
        let place = inbound_sessions::likely_place(work, room_id, &session_id, &sender)?;
        if let Some(place) = place {
            sessions.entry(place).or_default().push(ciphertext);
        }
    }
    let messages = sessions.iter().flat_map(|(place, ciphertexts)| {
        ciphertexts.iter().map(move |ciphertext| (place, ciphertext.as_ref()))
    });
    let messages: Vec<(&Place, &str)> = messages.collect();
    let read = &work.read;
    let decrypted = parallel::map_shares(messages.clone(), |share| decrypt(read, share));
    for ((place, ciphertext), decrypted) in messages.into_iter().zip(decrypted) {
        if let Some(decrypted) = decrypted {
            let of_session = work.ahead.entry(place.clone()).or_default();
            of_session.insert(ciphertext.to_owned(), decrypted);
        }
    }
    Ok(())
}

/// Decrypts the share of a thread, with copies of the sessions: their ratchets continue from message to message.
fn decrypt(
    sessions: &HashMap<Place, InboundSession>,
    messages: Vec<(&Place, &str)>,
) -> Vec<Option<Decrypted>> {
    let mut decrypted = Vec::with_capacity(messages.len());
    let mut current: Option<(&Place, InboundGroupSession)> = None;
    for (place, ciphertext) in messages {
        if current.as_ref().is_none_or(|(of, _)| *of != place) {
            current = sessions.get(place).map(|kept| (place, megolm::copy(&kept.session)));
        }
        let session = current.as_mut().map(|(_, session)| session);
        decrypted.push(session.and_then(|session| megolm::decrypt(session, ciphertext).ok()));
    }
    decrypted
}
