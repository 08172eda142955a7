use extendr_api::prelude::*;
use mxcrypt_core::{
    Error, Kind,
    error::OrFail,
    primitives::{keys, olm},
};
use vodozemac::olm::{Account, OlmMessage, Session, SessionPickle};

use crate::{
    account::pickle_key,
    answer::{answer, raw, record, string},
    arguments,
    handle::{Held, keep, with},
};

impl Held for Session {
    const NAME: &'static str = "an Olm session";
}

#[extendr]
fn olm_outbound(account: Robj, identity_key: Robj, one_time_key: Robj) -> Robj {
    answer(|| {
        let identity_key = keys::curve25519(&arguments::text(&identity_key, "peer_curve25519")?)?;
        let one_time_key = keys::curve25519(&arguments::text(&one_time_key, "peer_otk")?)?;
        with(&account, |account: &mut Account| {
            Ok(keep(olm::outbound(account, identity_key, one_time_key)?))
        })
    })
}

#[extendr]
fn olm_inbound(account: Robj, identity_key: Robj, body: Robj) -> Robj {
    answer(|| {
        let identity_key = keys::curve25519(&arguments::text(&identity_key, "peer_curve25519")?)?;
        let OlmMessage::PreKey(message) = olm::message(0, &arguments::text(&body, "prekey_b64")?)?
        else {
            return Err(Error::new(Kind::Olm, "This is not a pre-key message."));
        };
        with(&account, |account: &mut Account| {
            let opened = olm::inbound(account, identity_key, &message)?;
            let plaintext = raw(&opened.plaintext);
            let session = keep(opened.session);
            Ok(record([("session", session), ("plaintext", plaintext)]))
        })
    })
}

#[extendr]
fn olm_encrypt(session: Robj, plaintext: Robj) -> Robj {
    answer(|| {
        let plaintext = arguments::plaintexts(&plaintext, "plaintext")?;
        let [plaintext] = plaintext.as_slice() else {
            return Err(Error::new(Kind::Argument, "`plaintext` must be one message."));
        };
        with(&session, |session: &mut Session| {
            let (message_type, body) = olm::parts(&olm::encrypt(session, plaintext)?);
            Ok(record([("type", (message_type as i32).into()), ("body", string(&body))]))
        })
    })
}

#[extendr]
fn olm_decrypt(session: Robj, message_type: Robj, body: Robj) -> Robj {
    answer(|| {
        let message_type = arguments::whole(&message_type, "type")?;
        let message = olm::message(message_type, &arguments::text(&body, "body")?)?;
        with(&session, |session: &mut Session| Ok(raw(&olm::decrypt(session, &message)?)))
    })
}

#[extendr]
fn olm_session_id(session: Robj) -> Robj {
    answer(|| with(&session, |session: &mut Session| Ok(string(&session.session_id()))))
}

#[extendr]
fn olm_session_pickle(session: Robj, key: Robj) -> Robj {
    answer(|| {
        let key = pickle_key(&key)?;
        with(&session, |session: &mut Session| Ok(string(&session.pickle().encrypt(key))))
    })
}

#[extendr]
fn olm_session_unpickle(blob: Robj, key: Robj) -> Robj {
    answer(|| {
        let blob = arguments::text(&blob, "blob")?;
        let pickle = SessionPickle::from_encrypted(&blob, pickle_key(&key)?)
            .or_fail(Kind::Pickle, "The Olm session cannot be unpickled")?;
        Ok(keep(Session::from_pickle(pickle)))
    })
}

extendr_module! {
    mod olm;
    fn olm_outbound;
    fn olm_inbound;
    fn olm_encrypt;
    fn olm_decrypt;
    fn olm_session_id;
    fn olm_session_pickle;
    fn olm_session_unpickle;
}
