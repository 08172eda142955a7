//! What comes with keys that were exported: their author may have made them up.

use mxcrypt_core::{
    judgement::{
        exported_session::{self, judge},
        trust::Trust,
    },
    machine::{Imported, Keeping},
    store::{
        Query,
        records::{InboundSession, KeySource, OutboundSession},
    },
};
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession, SessionConfig};

use crate::{
    key_requests::rely,
    scene::{MEGOLM, Person, Scene, megolm_event, parse, text_of},
};

/// Bob has said "one" to Alice's phone; then she has signed in on a laptop, which waits for the key.
struct Scenery {
    scene: Scene,
    phone: Person,
    laptop: Person,
    bob: Person,
    room_id: String,
}

fn scenery() -> Scenery {
    let mut scene = Scene::new();
    let (mut phone, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut phone, &mut bob]);
    bob.say(&mut scene, &room_id, "one");
    assert_eq!(phone.reads(&mut scene), ["one"]);
    let mut laptop = scene.person("alice");
    assert_eq!(laptop.reads(&mut scene), ["(unknown_session)"]);
    bob.sync(&mut scene);
    Scenery { scene, phone, laptop, bob, room_id }
}

fn sessions(person: &Person) -> Vec<InboundSession> {
    person.look(|tx| tx.select(&Query::all()))
}

/// The sessions of `person` as their key export has them.
fn exported(person: &Person) -> Vec<Value> {
    let export = |session: &InboundSession| {
        let data = exported_session::for_export(session).unwrap();
        parse(std::str::from_utf8(&data).unwrap())
    };
    sessions(person).iter().map(export).collect()
}

fn import(scene: &Scene, person: &mut Person, exported: &[Value]) -> Vec<Imported> {
    let judged = exported.iter().map(|session| judge(&session.to_string())).collect();
    person.machine.import_sessions(scene.now, judged).unwrap()
}

fn outcomes(rows: &[Imported]) -> Vec<Option<Keeping>> {
    rows.iter().map(|row| row.outcome.as_ref().ok().copied()).collect()
}

/// The session of Bob's in `person`'s store: there must be one.
fn of_bob(person: &Person, bob: &Person) -> InboundSession {
    let mut kept = sessions(person);
    kept.retain(|session| session.sender.as_deref() == Some(&bob.user) || session.sender.is_none());
    assert_eq!(kept.len(), 1);
    kept.remove(0)
}

/// `session` with the ratchet at `index`, exported.
fn at(session: &mut InboundSession, index: u32) -> Value {
    assert!(index == 0 || session.session.advance_to(index));
    let data = exported_session::for_export(session).unwrap();
    parse(std::str::from_utf8(&data).unwrap())
}

#[test]
fn an_imported_key_reads_what_waited_and_guarantees_nothing() {
    let Scenery { mut scene, phone, mut laptop, mut bob, .. } = scenery();
    rely(&mut scene, &mut laptop, &mut bob);
    let rows = import(&scene, &mut laptop, &exported(&phone));
    assert_eq!(outcomes(&rows), [Some(Keeping::Taken)]);
    assert_eq!(rows[0].first_known_index, Some(0));
    laptop.pump(&mut scene);
    let rows = laptop.events();
    let row = rows.iter().find(|row| text_of(row) == "one").unwrap();
    assert_eq!(row.event.key_source, Some(KeySource::Imported));
    assert_eq!(row.trust, Trust::NotGuaranteed);
    // Again, nothing is new.
    let rows = import(&scene, &mut laptop, &exported(&phone));
    assert_eq!(outcomes(&rows), [Some(Keeping::Known)]);
    assert!(of_bob(&laptop, &bob).shared_history);
}

/// Rule 39.
#[test]
fn one_bad_session_does_not_stop_the_others() {
    let Scenery { scene, phone, mut laptop, .. } = scenery();
    let good = exported(&phone).remove(0);
    let mut renamed = good.clone();
    renamed["session_id"] = json!(GroupSession::new(SessionConfig::version_1()).session_id());
    let rows = import(&scene, &mut laptop, &[json!(null), renamed, good]);
    assert_eq!(outcomes(&rows), [None, None, Some(Keeping::Taken)]);
}

/// Rules 20 and 39: also of a key that was itself imported.
#[test]
fn a_lower_index_is_taken_and_never_raised() {
    let Scenery { mut scene, mut phone, mut laptop, mut bob, room_id } = scenery();
    bob.say(&mut scene, &room_id, "two");
    assert_eq!(laptop.reads(&mut scene), ["two"]);
    // The laptop was given it at index 1, by Bob himself.
    assert_eq!(phone.reads(&mut scene), ["two"]);
    let before = of_bob(&laptop, &bob);
    assert_eq!((before.session.first_known_index(), before.source), (1, KeySource::Direct));
    let mut full = of_bob(&phone, &bob);
    let (lowest, higher) = (at(&mut full, 0), at(&mut full, 2));
    let rows = import(&scene, &mut laptop, &[higher.clone(), lowest, higher]);
    let expected = [Keeping::Known, Keeping::Taken, Keeping::Known].map(Some);
    assert_eq!(outcomes(&rows), expected);
    let after = of_bob(&laptop, &bob);
    assert_eq!((after.session.first_known_index(), after.source), (0, KeySource::Direct));
    assert_eq!(after.number, before.number);
    assert_eq!(laptop.new_texts(), ["one"]);
}

/// An exported key is not signed: anybody can write another ratchet under the id of one.
#[test]
fn another_ratchet_under_a_known_id_is_refused() {
    let Scenery { scene, phone, mut laptop, bob, .. } = scenery();
    let good = exported(&phone).remove(0);
    import(&scene, &mut laptop, std::slice::from_ref(&good));
    let mut forged = good.clone();
    let key = good["session_key"].as_str().unwrap();
    forged["session_key"] = json!(format!("{}AAAAAAAA{}", &key[..16], &key[24..]));
    let rows = import(&scene, &mut laptop, &[forged.clone()]);
    assert_eq!(outcomes(&rows), [Some(Keeping::Contradicts)]);
    forged["sender_key"] = json!(laptop.identity_key());
    let rows = import(&scene, &mut laptop, &[forged]);
    assert_eq!(outcomes(&rows), [Some(Keeping::Contradicts)]);
    assert_eq!(at(&mut of_bob(&laptop, &bob), 0)["session_key"], good["session_key"]);
}

/// Two rows of one ratchet would have two memories of what its indices stood for.
#[test]
fn the_makers_own_key_takes_the_place_of_an_imported_one() {
    let Scenery { mut scene, phone, mut laptop, mut bob, room_id } = scenery();
    let mut forged = exported(&phone).remove(0);
    let key = forged["session_key"].as_str().unwrap().to_owned();
    let good = forged.clone();
    import(&scene, &mut laptop, &[good]);
    let imported = of_bob(&laptop, &bob);
    assert_eq!((imported.source, imported.sender.clone()), (KeySource::Imported, None));
    bob.say(&mut scene, &room_id, "two");
    laptop.sync(&mut scene);
    let direct = of_bob(&laptop, &bob);
    assert_eq!((direct.source, direct.number), (KeySource::Direct, imported.number));
    assert_eq!(direct.session.first_known_index(), 0);
    // Even where the imported one was not the session's at all.
    let mut other = scene.person("alice");
    forged["session_key"] = json!(format!("{}AAAAAAAA{}", &key[..16], &key[24..]));
    import(&scene, &mut other, &[forged]);
    bob.sync(&mut scene);
    bob.say(&mut scene, &room_id, "three");
    assert_eq!(other.reads(&mut scene).last().unwrap(), "three");
    assert_eq!(of_bob(&other, &bob).source, KeySource::Direct);
}

/// Mallory was given Bob's key, and has handed it on in her own name before it is imported.
#[test]
fn a_key_that_another_handed_on_does_not_keep_the_imported_one_out() {
    let Scenery { mut scene, phone, mut laptop, bob, room_id } = scenery();
    let mut mallory = scene.forger("mallory");
    let session_key = {
        let of_bob = bob.look(|tx| tx.select::<OutboundSession>(&Query::all())).remove(0);
        of_bob.session.session_key().to_base64()
    };
    let exported = exported(&phone);
    let content = json!({"algorithm": MEGOLM, "room_id": room_id,
        "session_id": exported[0]["session_id"], "session_key": session_key});
    mallory.give_key(&mut scene, &mut laptop, content, |_| {});
    laptop.sync(&mut scene);
    assert_eq!(outcomes(&import(&scene, &mut laptop, &exported)), [Some(Keeping::Taken)]);
    assert_eq!(laptop.new_texts(), ["one"]);
}

/// Rule 21. Nothing binds an imported session to its creator but the device that is said to be
/// theirs.
#[test]
fn a_message_of_a_device_that_is_known_as_anothers_is_not_read() {
    let Scenery { mut scene, phone, mut laptop, mut bob, room_id } = scenery();
    rely(&mut scene, &mut laptop, &mut bob);
    let mut session = GroupSession::new(SessionConfig::version_1());
    let inbound = InboundGroupSession::new(&session.session_key(), SessionConfig::version_1());
    let made_up = InboundSession {
        session_id: session.session_id(),
        session: inbound,
        ..of_bob(&phone, &bob)
    };
    let data = exported_session::for_export(&made_up).unwrap();
    import(&scene, &mut laptop, &[parse(std::str::from_utf8(&data).unwrap())]);
    let mallory = scene.forger("mallory");
    crate::to_device::invite(&mut scene, &bob.token, &room_id, &mallory.user);
    scene.enter(&mallory.token, &room_id);
    let event = megolm_event(&mut session, &room_id, "hello");
    mallory.post(&mut scene, &room_id, &event);
    assert_eq!(laptop.reads(&mut scene).last().unwrap(), "(sender_mismatch)");
}
