//! Keys go to the key backup: in batches, again where they become better, whatever strangers put among
//! them.

use mxcrypt_core::primitives::megolm;
use mxcrypt_model_server::Response;

use crate::{
    backup_scenery::{PATIENCE, Scenery, backup_keys, later, scenery},
    scene::room_key,
};

/// A response that was lost, and one that comes twice.
#[test]
fn a_batch_whose_answer_is_lost_goes_again() {
    let mut s = scenery();
    s.bob.machine.rotate_room_key(s.scene.now, &s.room_id).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "two");
    s.scene.now += PATIENCE;
    s.phone.sync(&mut s.scene);
    let requests = s.phone.machine.requests(s.scene.now).unwrap().requests;
    let upload = requests.iter().find(|request| request.kind == "back_up").unwrap();
    assert_eq!(s.phone.machine.backup_status().unwrap().backed_up, 1);
    // Another process does not repeat it meanwhile.
    let mut other = s.phone.another();
    let busy = other.requests(s.scene.now).unwrap().requests;
    assert!(!busy.iter().any(|request| request.kind == "back_up"));
    s.scene.now += PATIENCE;
    let again = other.requests(s.scene.now).unwrap().requests;
    assert!(again.iter().any(|again| again.path == upload.path));
}

#[test]
fn a_key_that_becomes_better_goes_to_the_backup_again() {
    let mut s = scenery();
    later(&mut s.scene, &mut s.phone);
    let room_id = s.room_id.clone();
    let mut forger = s.scene.forger("mallory");
    let mut session = megolm::outbound();
    let early = room_key(&room_id, &session);
    session.encrypt("x");
    let late = room_key(&room_id, &session);
    let place = |s: &mut Scenery| {
        let keys = backup_keys(&mut s.scene, &s.phone);
        keys[&room_id]["sessions"][session.session_id()]["first_message_index"].clone()
    };
    forger.give_key(&mut s.scene, &mut s.phone, late, |_| {});
    s.phone.sync(&mut s.scene);
    later(&mut s.scene, &mut s.phone);
    assert_eq!(place(&mut s), 1);
    forger.give_key(&mut s.scene, &mut s.phone, early, |_| {});
    s.phone.sync(&mut s.scene);
    later(&mut s.scene, &mut s.phone);
    assert_eq!(place(&mut s), 0);
}

/// A stranger gives a key for a room whose id no PostgreSQL can store: the server fails with the batch.
#[test]
fn a_strangers_room_id_does_not_stop_the_backup() {
    let mut s = scenery();
    let mut mallory = s.scene.forger("mallory");
    let odd = room_key("!a\u{0}b:here", &megolm::outbound());
    mallory.give_key(&mut s.scene, &mut s.phone, odd, |_| {});
    s.phone.sync(&mut s.scene);
    s.bob.machine.rotate_room_key(s.bob.now, &s.room_id).unwrap();
    s.bob.say(&mut s.scene, &s.room_id, "two");
    s.phone.sync(&mut s.scene);
    let mut refused = 0;
    for _ in 0..200 {
        s.scene.now += 20 * 60 * 1000;
        let requests = s.phone.machine.requests(s.scene.now).unwrap().requests;
        for request in requests {
            let body = request.body.unwrap_or_default();
            let http = mxcrypt_model_server::Request {
                method: request.method.into(),
                path: request.path.clone(),
                token: Some(s.phone.token.clone()),
                body: body.clone().into_bytes(),
            };
            let response = if request.kind == "back_up" && body.contains("\\u0000") {
                refused += 1;
                let body = r#"{"errcode":"M_UNKNOWN","error":"Internal server error"}"#;
                Response { status: 500, body: body.into() }
            } else {
                s.scene.server.handle(s.scene.now as u64, &http)
            };
            let reply = mxcrypt_core::machine::Reply::Answer {
                status: response.status,
                body: response.body,
            };
            s.phone.machine.replies(s.scene.now, vec![(request.number, reply)]).unwrap();
        }
    }
    let status = s.phone.machine.backup_status().unwrap();
    assert!(
        status.backed_up >= 2,
        "{} of {}, refused {refused} times",
        status.backed_up,
        status.sessions
    );
}

/// Room ids of sixty kilobytes: the batch has a size that no server takes.
#[test]
fn a_strangers_long_room_ids_do_not_make_a_batch_too_large() {
    let mut s = scenery();
    let mut mallory = s.scene.forger("mallory");
    for n in 0..60 {
        let odd = room_key(&format!("!{n}{}:here", "x".repeat(60_000)), &megolm::outbound());
        mallory.give_key(&mut s.scene, &mut s.phone, odd, |_| {});
    }
    s.phone.sync(&mut s.scene);
    s.scene.now += 20 * 60 * 1000;
    let requests = s.phone.machine.requests(s.scene.now).unwrap().requests;
    let batch = requests.into_iter().find(|request| request.kind == "back_up");
    let size = batch.map_or(0, |batch| batch.body.unwrap().len());
    assert!(size < 2 << 20, "{size} bytes");
}
