//! Why an event cannot be read.

use mxcrypt_core::store::{Query, records::KeyRequest};
use serde_json::{Value, json};

use crate::{
    scene::{Person, Scene, text_of},
    to_device::invite,
};

const MINUTE: i64 = 60 * 1000;

/// What waits for its key, by the reasons that hold now.
fn waiting(person: &mut Person) -> Vec<String> {
    person.machine.undecrypted(person.now).unwrap().iter().map(text_of).collect()
}

fn without_keys(sync: &mut Value) {
    sync["to_device"]["events"] = json!([]);
}

/// What was said before one came is for those who were there: nobody is asked for its key. One
/// comes once a stay, and a new name is no new stay.
#[test]
fn what_was_said_before_we_came() {
    let mut scene = Scene::new();
    let (mut alice, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut alice]);
    alice.say(&mut scene, &room_id, "before");
    scene.now += MINUTE;
    invite(&mut scene, &alice.token, &room_id, &bob.user);
    scene.enter(&bob.token, &room_id);
    bob.sync(&mut scene);
    assert_eq!(bob.new_texts(), ["(before_join)"]);
    assert_eq!(bob.look(|tx| tx.count::<KeyRequest>(&Query::all())), 0);
    scene.now += MINUTE;
    alice.sync(&mut scene);
    alice.say(&mut scene, &room_id, "after");
    scene.now += MINUTE;
    let path = format!("profile/{}/displayname", bob.user.replace(':', "%3A"));
    let name = json!({"displayname": "Robert"});
    assert_eq!(scene.call(Some(&bob.token), "PUT", &path, name).status, 200);
    bob.sync_with(&mut scene, without_keys);
    assert_eq!(bob.new_texts(), ["(unknown_session)"]);
    assert_eq!(waiting(&mut bob), ["(before_join)", "(unknown_session)"]);
}

/// Another device of ours may have the key of what was said before this one began.
#[test]
fn what_was_said_before_this_device_began() {
    let mut scene = Scene::new();
    let (mut phone, mut bob) = (scene.person("alice"), scene.person("bob"));
    let room_id = scene.room(&mut [&mut phone, &mut bob]);
    bob.say(&mut scene, &room_id, "long before");
    scene.now += 2 * MINUTE;
    bob.say(&mut scene, &room_id, "just before");
    // Clocks differ a little.
    scene.now += MINUTE / 2;
    let mut laptop = scene.newcomer("alice");
    laptop.sync(&mut scene);
    // Its keys are on their way to the server, and whether there is a backup is not known yet.
    laptop.machine.requests(scene.now).unwrap();
    assert_eq!(waiting(&mut laptop), ["(before_device)", "(unknown_session)"]);
    // What was there before the first sync is looked for at once.
    scene.now += MINUTE;
    laptop.pump(&mut scene);
    assert_eq!(waiting(&mut laptop), ["(no_backup)", "(unknown_session)"]);
    // It is worth asking for.
    assert_eq!(laptop.look(|tx| tx.count::<KeyRequest>(&Query::all())), 1);
}
