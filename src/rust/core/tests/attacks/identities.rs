//! What a server may show as identities of users.

use mxcrypt_core::{
    machine::Storage,
    primitives::{
        canonical_json::{Json, Numbers, Object},
        cross_signing::{SigningKey, Usage},
    },
};
use mxcrypt_model_server::Response;
use serde_json::{Value, json};

use crate::scene::{Person, Scene, parse};

/// Gives a person an identity, as mx_crypto_setup() does.
pub fn make_identity(scene: &mut Scene, person: &mut Person) {
    person
        .machine
        .make_identity(scene.now, &Storage::New { passphrase: None }, false, false)
        .unwrap();
    let upload = parse(&person.machine.signing_keys_upload(None).unwrap());
    let token = person.token.clone();
    let path = "keys/device_signing/upload";
    assert_eq!(scene.call(Some(&token), "POST", path, upload).status, 200);
    person.machine.identity_published(scene.now).unwrap();
    ask_about(scene, person, &[&person.user.clone()], |response| response);
    let signatures = parse(&person.machine.signatures_upload().unwrap().unwrap());
    assert_eq!(scene.call(Some(&token), "POST", "keys/signatures/upload", signatures).status, 200);
    ask_about(scene, person, &[&person.user.clone()], |response| response);
}

/// Makes `person` request the keys of `users`; the server may tamper with the response.
pub fn ask_about(
    scene: &mut Scene,
    person: &mut Person,
    users: &[&str],
    tamper: impl Fn(Response) -> Response,
) {
    let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
    person.machine.refresh_devices(scene.now, &users).unwrap();
    let troubles = person.pump_with(scene, |kind, response| match kind {
        "keys_query" => tamper(response),
        _ => response,
    });
    assert_eq!(troubles, Vec::new());
}

pub fn value(object: Object) -> Value {
    parse(&Json::Object(object).canonical(Numbers::Canonical).unwrap())
}

/// The server cannot make a signing key whose private part we hold; it can put a master key and a
/// user-signing key of its own above and beside it, and have that vouch for others.
#[test]
fn a_false_master_key_above_our_own_signing_key_vouches_for_nobody() {
    let mut scene = Scene::new();
    let (mut alice, bob) = (scene.person("alice"), scene.person("bob"));
    make_identity(&mut scene, &mut alice);
    let genuine = alice.machine.user_trust(std::slice::from_ref(&alice.user)).unwrap();
    assert!(genuine[0].verified);

    let key = || SigningKey::random().unwrap();
    let (master, user_signing, bobs) = (key(), key(), key());
    let (a, b) = (alice.user.clone(), bob.user.clone());
    let forge = |response: Response| {
        let mut answer = parse(&response.body);
        let mut self_signing =
            Json::parse_object(&answer["self_signing_keys"][&a].to_string()).unwrap();
        self_signing.remove("signatures");
        master.sign(&mut self_signing, &a).unwrap();
        let mut signs_users = user_signing.published(&a, Usage::UserSigning);
        master.sign(&mut signs_users, &a).unwrap();
        let mut of_bob = bobs.published(&b, Usage::Master);
        user_signing.sign(&mut of_bob, &a).unwrap();
        answer["self_signing_keys"] = json!({&a: value(self_signing)});
        answer["user_signing_keys"] = json!({&a: value(signs_users)});
        answer["master_keys"] =
            json!({&a: value(master.published(&a, Usage::Master)), &b: value(of_bob)});
        Response { body: answer.to_string(), ..response }
    };
    ask_about(&mut scene, &mut alice, &[&a, &b], forge);
    let trust = alice.machine.user_trust(&[a.clone(), b.clone()]).unwrap();
    assert!(trust[0].changed && !trust[0].verified);
    assert!(trust[1].master_key.is_some() && !trust[1].verified);
    // Nor is it taken for ours later, when Bob is requested alone.
    ask_about(&mut scene, &mut alice, &[&b], |response| response);
    let trust = alice.machine.user_trust(std::slice::from_ref(&b)).unwrap();
    assert!(!trust[0].verified && !trust[0].was_verified);
}
