//! A user's cross-signing keys, as a server returns them.
//!
//! Specification: client-server API, end-to-end encryption, "Cross-signing".

use vodozemac::Ed25519PublicKey;

use super::unique_map::{UniqueMap, read_object};
use crate::{
    error::{Error, Kind, OrFail, Result},
    primitives::{
        canonical_json::{Json, Object},
        cross_signing::Usage,
        keys, signing,
    },
};

/// Cross-signing keys that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossSigningKeys {
    /// Stands for the user.
    pub master: Ed25519PublicKey,
    /// Signs the user's devices; signed by the master key.
    pub self_signing: Option<Ed25519PublicKey>,
    /// Signs other users; signed by the master key, and shown to its owner only.
    pub user_signing: Option<Ed25519PublicKey>,
}

/// Judges the keys of `user_id`.
///
/// # Errors
/// When any of them does not hold: then the user has no identity at all, because one made of parts
/// that hold alone is not what its owner made.
pub fn judge(
    user_id: &str,
    master: &str,
    self_signing: Option<&str>,
    user_signing: Option<&str>,
) -> Result<CrossSigningKeys> {
    let (_, master) = read(user_id, master, Usage::Master)?;
    let signed = |text: Option<&str>, usage| -> Result<Option<Ed25519PublicKey>> {
        let Some(text) = text else { return Ok(None) };
        let (object, key) = read(user_id, text, usage)?;
        // One key for two uses would let a signature of one kind pass for another.
        if key == master {
            return Err(refused("One cross-signing key is used for two things."));
        }
        let master_id = format!("ed25519:{}", master.to_base64());
        signing::verify(&object, user_id, &master_id, master)?;
        Ok(Some(key))
    };
    let self_signing = signed(self_signing, Usage::SelfSigning)?;
    let user_signing = signed(user_signing, Usage::UserSigning)?;
    if self_signing.is_some() && self_signing == user_signing {
        return Err(refused("One cross-signing key is used for two things."));
    }
    Ok(CrossSigningKeys { master, self_signing, user_signing })
}

/// Whether `object` has a signature of `user_id` with the cross-signing key `key` that holds.
pub fn is_signed_by(object: &Object, user_id: &str, key: Ed25519PublicKey) -> bool {
    signing::verify(object, user_id, &format!("ed25519:{}", key.to_base64()), key).is_ok()
}

/// Judges the response to `POST /keys/signatures/upload`.
///
/// # Errors
/// [`Kind::Answer`] when it is no such response, or names a signature that the server rejected.
pub fn check_signatures_taken(body: &str) -> Result<()> {
    let response: UniqueMap<Json> =
        read_object(body).or_fail(Kind::Answer, "The answer to a signature")?;
    let failures = response.0.get("failures").and_then(Json::as_object);
    if failures.is_some_and(|failures| !failures.is_empty()) {
        return Err(Error::new(Kind::Answer, "The server did not take a signature."));
    }
    Ok(())
}

fn read(user_id: &str, text: &str, usage: Usage) -> Result<(Object, Ed25519PublicKey)> {
    let object = Json::parse_object(text)?;
    if object.get("user_id").and_then(Json::as_str) != Some(user_id) {
        return Err(refused("A cross-signing key is of another user."));
    }
    let usages = object.get("usage").and_then(Json::as_array).unwrap_or_default();
    if !usages.iter().any(|found| found.as_str() == Some(usage.as_str())) {
        return Err(refused(format!("A cross-signing key is not for {}.", usage.as_str())));
    }
    let of_key = object.get("keys").and_then(Json::as_object);
    let mut all = of_key.into_iter().flatten();
    let (Some((id, value)), None) = (all.next(), all.next()) else {
        return Err(refused("A cross-signing key must be exactly one key."));
    };
    let text = value.as_str().ok_or_else(|| refused("A cross-signing key is no text."))?;
    let key = keys::ed25519(text)?;
    if id.strip_prefix("ed25519:") != Some(text) {
        return Err(refused("A cross-signing key is named by another key."));
    }
    Ok((object, key))
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Signature, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{canonical_json::Numbers, cross_signing::SigningKey};

    const ALICE: &str = "@alice:here";

    fn text(object: Object) -> String {
        Json::Object(object).canonical(Numbers::Canonical).unwrap()
    }

    struct Scene {
        keys: [SigningKey; 3],
    }

    impl Scene {
        fn new() -> Self {
            Self { keys: Usage::ALL.map(|_| SigningKey::random().unwrap()) }
        }

        fn object(&self, usage: Usage) -> Object {
            let place = Usage::ALL.iter().position(|u| *u == usage).unwrap();
            let mut object = self.keys[place].published(ALICE, usage);
            if place > 0 {
                self.keys[0].sign(&mut object, ALICE).unwrap();
            }
            object
        }

        fn judge(&self, change: impl Fn(Usage, &mut Object)) -> Result<CrossSigningKeys> {
            let [master, own, user] = Usage::ALL.map(|usage| {
                let mut object = self.object(usage);
                change(usage, &mut object);
                text(object)
            });
            judge(ALICE, &master, Some(&own), Some(&user))
        }
    }

    #[test]
    fn three_keys_that_belong_together_are_an_identity() {
        let scene = Scene::new();
        let found = scene.judge(|_, _| {}).unwrap();
        assert_eq!(found.master.to_base64(), scene.keys[0].public());
        assert_eq!(found.self_signing.unwrap().to_base64(), scene.keys[1].public());
        assert_eq!(found.user_signing.unwrap().to_base64(), scene.keys[2].public());
        let alone = judge(ALICE, &text(scene.object(Usage::Master)), None, None).unwrap();
        assert!(alone.self_signing.is_none());
    }

    #[test]
    fn each_way_to_be_wrong_spoils_the_whole_identity() {
        let scene = Scene::new();
        let (other, string) = (SigningKey::random().unwrap(), |s: &str| Json::String(s.into()));
        for bad in Usage::ALL {
            let refuses = |change: &dyn Fn(&mut Object)| {
                scene
                    .judge(|usage, object| {
                        if usage == bad {
                            change(object)
                        }
                    })
                    .is_err()
            };
            // Signed again, so that nothing but the change is wrong.
            let resign = |object: &mut Object| {
                object.remove("signatures");
                scene.keys[0].sign(object, ALICE).unwrap();
            };
            assert!(refuses(&|o| {
                o.insert("user_id".into(), string("@mallory:here"));
                resign(o);
            }));
            assert!(refuses(&|o| {
                o.insert("usage".into(), Json::Array(vec![string("other")]));
                resign(o);
            }));
            assert!(refuses(&|o| {
                o.insert("keys".into(), Json::Object(Object::new()));
                resign(o);
            }));
            assert!(refuses(&|o| {
                let Some(Json::Object(keys)) = o.get_mut("keys") else { return };
                keys.insert(format!("ed25519:{}", other.public()), string(&other.public()));
                resign(o);
            }));
            assert!(refuses(&|o| {
                let named = Object::from([(
                    format!("ed25519:{}", scene.keys[0].public()),
                    string(&other.public()),
                )]);
                o.insert("keys".into(), Json::Object(named));
                resign(o);
            }));
            if bad != Usage::Master {
                assert!(refuses(&|o| {
                    o.remove("signatures");
                }));
                assert!(refuses(&|o| {
                    o.remove("signatures");
                    other.sign(o, ALICE).unwrap();
                }));
                // The master key itself, in another's place.
                assert!(refuses(&|o| {
                    *o = scene.keys[0].published(ALICE, bad);
                    resign(o);
                }));
            }
        }
        let same = scene.judge(|usage, object| {
            if usage == Usage::UserSigning {
                *object = scene.keys[1].published(ALICE, usage);
                scene.keys[0].sign(object, ALICE).unwrap();
            }
        });
        assert!(same.is_err());
    }
    #[test]
    fn signatures_are_taken_where_none_failed() {
        for taken in ["{}", r#"{"failures":{}}"#, r#"{"failures":7}"#] {
            check_signatures_taken(taken).unwrap();
        }
        for odd in ["", "[]", r#"{"failures":{},"failures":{}}"#, r#"{"failures":{"@a:b":{}}}"#] {
            assert_eq!(check_signatures_taken(odd).unwrap_err().kind, Kind::Answer, "{odd}");
        }
    }
}
