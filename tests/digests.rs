//! What the origin itself says of a body, by digests beside it: a body that differs is fetched again, one that is another's by
//! design is not, and nobody loses an image to a header that is none.

use crate::support::{Env, Origin, Reply, guid, guids, image_for};
use base64::prelude::{BASE64_STANDARD, Engine};

/// Header lines that declare what they should of this body.
fn truths(body: &[u8]) -> Vec<(&'static str, String)> {
    let sha = BASE64_STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, body));
    let md5 = BASE64_STANDARD.encode(md5::compute(body).0);
    let crc = BASE64_STANDARD.encode(crc32c::crc32c(body).to_be_bytes());
    vec![
        ("Repr-Digest", format!("sha-256=:{sha}:")),
        ("Content-Digest", format!("sha-512=:AAAA:, md5=:{md5}:")),
        ("Digest", format!("SHA-256={sha},MD5={md5}")),
        ("Content-MD5", md5.clone()),
        ("x-goog-hash", format!("crc32c={crc},md5={md5}")),
        ("x-amz-checksum-sha256", sha),
        ("x-amz-checksum-crc32c", crc),
    ]
}

/// The same image with one bit flipped where no check of its structure can see it.
fn damaged(guid: &str) -> Vec<u8> {
    let mut image = image_for(guid);
    let middle = image.len() / 2;
    let at =
        (middle..image.len()).find(|at| image[*at] != 0xFF && image[*at] != 0xFE && image[at - 1] != 0xFF).unwrap();
    image[at] ^= 1;
    image
}

#[test]
fn a_flipped_bit_is_found_by_every_header_that_tells_of_it_and_passes() {
    let guids = guids(truths(&[]).len());
    let (env, origin) = (Env::with(&guids), Origin::start());
    for (at, guid) in guids.iter().enumerate() {
        let (name, value) = truths(&image_for(guid)).swap_remove(at);
        let reply = |body: Vec<u8>| Reply::bytes(200, "image/jpeg", body).header(name, &value);
        origin.on(guid, [reply(damaged(guid)), reply(image_for(guid))]);
    }
    let args = ["--workers", "1", "--retries", "0", "--json"];
    let summary = env.fetch(&origin).args(args).run().expect(3).json();
    assert_eq!(summary["failures"]["digest_mismatch"], guids.len(), "{summary}");
    assert_eq!(summary["connections"], 1, "the connection is whole");
    assert!(env.files().is_empty());
    for (at, guid) in guids.iter().enumerate() {
        let (name, _) = truths(&[]).swap_remove(at);
        let of = format!("FROM thumb_failure WHERE source_image_id = '{guid}'");
        assert_eq!(env.query(&format!("SELECT permanent, http_status {of}")), [["false", "200"]]);
        let message = env.value(&format!("SELECT message {of}"));
        assert!(message.starts_with(&format!("{name}: the origin declared ")), "{message}");
    }
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
}

#[test]
fn damage_that_passes_costs_a_retry_and_no_image() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    let (name, value) = truths(&image_for(&guids[1])).swap_remove(3);
    let html = Reply::html().header(name, &value);
    origin.on(&guids[1], [html, Reply::image().header(name, &value)]);
    let summary = env.fetch(&origin).arg("--json").run().expect(0).json();
    assert_eq!(
        (&summary["requests"], &summary["failed"]),
        (&4.into(), &0.into()),
        "no image, but not what it was either"
    );
    env.assert_done(&guids);
}

#[test]
fn nothing_in_the_place_of_what_was_declared_may_pass_and_nothing_that_was_declared_does_not() {
    let none = || Reply::bytes(200, "image/jpeg", "");
    let declared = |reply: Reply, body: &[u8], at: usize| {
        let (name, value) = truths(body).swap_remove(at);
        reply.header(name, &value)
    };
    let image = image_for(&guid(0));
    let mut replies = Vec::new();
    for at in 0..7 {
        replies.push((declared(none(), &image, at), "digest_mismatch"));
        replies.push((declared(none(), b"", at), "empty"));
    }
    replies.push((declared(none().chunked(), &image, 0), "digest_mismatch"));
    replies.push((declared(none().gzip(), &image, 3), "digest_mismatch"));
    replies.push((declared(none().gzip(), b"", 3), "empty"));
    let guids = guids(replies.len());
    let (env, origin) = (Env::with(&guids), Origin::start());
    for (guid, (reply, _)) in guids.iter().zip(&replies) {
        origin.on(guid, [reply.clone()]);
    }
    env.fetch(&origin).args(["--retries", "0"]).run().expect(3);
    for (guid, (_, kind)) in guids.iter().zip(&replies) {
        let found = env.query(&format!("SELECT kind, permanent FROM thumb_failure WHERE source_image_id = '{guid}'"));
        assert_eq!(found, [[*kind, if *kind == "empty" { "true" } else { "false" }]]);
    }
}

#[test]
fn what_stores_and_caches_really_send_fails_no_good_image() {
    let image = image_for(&guid(0));
    let truth = |at: usize| truths(&image).swap_remove(at).1;
    let jpeg = || Reply::bytes(200, "image/jpeg", image.clone());
    let foreign = |reply: Reply| {
        let reply =
            reply.header("x-goog-hash", "crc32c=DpDPAQ==").header("x-goog-hash", "md5=cIP/3rusdUx12Zla1kf1yA==");
        reply.header("ETag", "\"7083ffdebbac754c75d9995ad647f5c8\"")
    };
    let replies = [
        // A cache packs what the store declared unpacked.
        jpeg().header("x-goog-stored-content-encoding", "identity").header("x-goog-hash", &truth(4)).gzip(),
        jpeg().header("Content-MD5", &truth(3)).gzip(),
        // A store unpacks what it declared packed.
        foreign(jpeg()).header("x-goog-stored-content-encoding", "gzip"),
        // Caches that make smaller pictures, and leave the store's headers on them.
        foreign(jpeg()).header("cf-polished", "origSize=24620"),
        foreign(jpeg()).header("fastly-io-info", "ifsz=24620 ofsz=9000"),
        // Amazon S3, several parts.
        jpeg()
            .header("x-amz-checksum-sha256", &format!("{}-2", truth(5)))
            .header("ETag", "\"9b2cf535f27731c974343645a3985328-2\""),
        jpeg().header("x-amz-checksum-crc32c", "AAAAAA==").header("x-amz-checksum-type", "COMPOSITE"),
        // Encrypted by S3 with keys of its own: an ETag that looks like an MD5, and is none.
        jpeg().header("ETag", "\"9b2cf535f27731c974343645a3985328\""),
        jpeg().header("Repr-Digest", "sha-256=AAAA, sha-256, \u{fc}"),
        jpeg().header("Content-MD5", "50521abab7a013be83ee00ded3f9f424"),
        jpeg().until_close().header("Content-MD5", &truth(3)),
    ];
    let guids = guids(replies.len());
    let (env, origin) = (Env::with(&guids), Origin::start());
    for (guid, reply) in guids.iter().zip(replies) {
        origin.on(guid, [reply]);
    }
    let summary = env.fetch(&origin).args(["--retries", "0", "--json"]).run().expect(0).json();
    assert_eq!((&summary["fetched"], &summary["failures"]), (&guids.len().into(), &serde_json::json!({})));
    for guid in &guids {
        assert!(std::fs::read(env.image(guid)).unwrap() == image, "{guid} is not as it was before it was packed");
    }
}
