use extendr_api::prelude::*;
use mxcrypt_core::{Kind, error::OrFail, primitives::megolm};
use vodozemac::megolm::{
    GroupSession, GroupSessionPickle, InboundGroupSession, InboundGroupSessionPickle,
};

use crate::{
    account::pickle_key,
    answer::{answer, number, raw, record, string, strings},
    arguments,
    handle::{Held, keep, with},
};

impl Held for GroupSession {
    const NAME: &'static str = "an outbound Megolm session";
}

impl Held for InboundGroupSession {
    const NAME: &'static str = "an inbound Megolm session";
    const OUTLIVES_FORK: bool = true;
}

#[extendr]
fn megolm_outbound_new() -> Robj {
    answer(|| Ok(keep(megolm::outbound())))
}

#[extendr]
fn megolm_outbound_session_id(session: Robj) -> Robj {
    answer(|| with(&session, |session: &mut GroupSession| Ok(string(&session.session_id()))))
}

#[extendr]
fn megolm_outbound_message_index(session: Robj) -> Robj {
    answer(|| {
        with(&session, |session: &mut GroupSession| Ok(number(session.message_index().into())))
    })
}

#[extendr]
fn megolm_outbound_session_key(session: Robj) -> Robj {
    answer(|| {
        with(&session, |session: &mut GroupSession| Ok(string(&session.session_key().to_base64())))
    })
}

#[extendr]
fn megolm_encrypt(session: Robj, plaintexts: Robj) -> Robj {
    answer(|| {
        let plaintexts = arguments::plaintexts(&plaintexts, "plaintext")?;
        with(&session, |session: &mut GroupSession| {
            let ciphertexts: Vec<String> =
                plaintexts.iter().map(|text| megolm::encrypt(session, text)).collect();
            Ok(strings(ciphertexts.iter().map(|text| Some(text.as_str()))))
        })
    })
}

#[extendr]
fn megolm_outbound_pickle(session: Robj, key: Robj) -> Robj {
    answer(|| {
        let key = pickle_key(&key)?;
        with(&session, |session: &mut GroupSession| Ok(string(&session.pickle().encrypt(key))))
    })
}

#[extendr]
fn megolm_outbound_unpickle(blob: Robj, key: Robj) -> Robj {
    answer(|| {
        let blob = arguments::text(&blob, "blob")?;
        let pickle = GroupSessionPickle::from_encrypted(&blob, pickle_key(&key)?)
            .or_fail(Kind::Pickle, "The Megolm session cannot be unpickled")?;
        Ok(keep(GroupSession::from_pickle(pickle)))
    })
}

#[extendr]
fn megolm_inbound_new(session_key: Robj) -> Robj {
    answer(|| {
        let key = arguments::text(&session_key, "session_key")?;
        Ok(keep(megolm::inbound(&key)?))
    })
}

#[extendr]
fn megolm_inbound_info(session: Robj) -> Robj {
    answer(|| {
        with(&session, |session: &mut InboundGroupSession| {
            Ok(record([
                ("session_id", string(&session.session_id())),
                ("first_known_index", number(session.first_known_index().into())),
            ]))
        })
    })
}

/// A plaintext, an index and a reason a ciphertext; where one is there, the other is missing.
#[extendr]
fn megolm_decrypt(session: Robj, ciphertexts: Robj) -> Robj {
    answer(|| {
        let ciphertexts = arguments::texts(&ciphertexts, "ciphertext_b64")?;
        with(&session, |session: &mut InboundGroupSession| {
            let decrypted: Vec<_> =
                ciphertexts.iter().map(|text| megolm::decrypt(session, text)).collect();
            let plaintexts = decrypted.iter().map(|result| match result {
                Ok(message) => raw(&message.plaintext),
                Err(_) => ().into(),
            });
            let indices: Vec<Option<f64>> = decrypted
                .iter()
                .map(|result| result.as_ref().ok().map(|message| message.message_index.into()))
                .collect();
            let errors = decrypted
                .iter()
                .map(|result| result.as_ref().err().map(|error| error.message.as_str()));
            Ok(record([
                ("plaintext", List::from_values(plaintexts).into()),
                ("message_index", indices.into()),
                ("error", strings(errors)),
            ]))
        })
    })
}

#[extendr]
fn megolm_inbound_pickle(session: Robj, key: Robj) -> Robj {
    answer(|| {
        let key = pickle_key(&key)?;
        with(&session, |session: &mut InboundGroupSession| {
            Ok(string(&session.pickle().encrypt(key)))
        })
    })
}

#[extendr]
fn megolm_inbound_unpickle(blob: Robj, key: Robj) -> Robj {
    answer(|| {
        let blob = arguments::text(&blob, "blob")?;
        let pickle = InboundGroupSessionPickle::from_encrypted(&blob, pickle_key(&key)?)
            .or_fail(Kind::Pickle, "The Megolm session cannot be unpickled")?;
        Ok(keep(InboundGroupSession::from_pickle(pickle)))
    })
}

extendr_module! {
    mod megolm;
    fn megolm_outbound_new;
    fn megolm_outbound_session_id;
    fn megolm_outbound_message_index;
    fn megolm_outbound_session_key;
    fn megolm_encrypt;
    fn megolm_outbound_pickle;
    fn megolm_outbound_unpickle;
    fn megolm_inbound_new;
    fn megolm_inbound_info;
    fn megolm_decrypt;
    fn megolm_inbound_pickle;
    fn megolm_inbound_unpickle;
}
