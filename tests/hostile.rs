//! Input that means harm: ids of any Unicode, and bodies of any bytes. Never a path outside the destination, never
//! a header more than was meant, never a panic, never a wait that grows out of proportion.
#![allow(clippy::cast_possible_truncation, reason = "the bodies that are made here are small")]

use crate::support::env::quoted;
use crate::support::{Env, Origin, Reply, guid, guids, image_for};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use std::io::Write;
use std::panic::catch_unwind;
use std::path::{Component, Path};
use std::time::Duration;
use toller::guid::{Guid, UrlTemplate};
use toller::image::{self, Reach};
use toller::store::Layout;

/// Any Unicode, and often what is special to paths, URLs, headers and SQL.
fn any_id() -> impl Strategy<Value = String> {
    let special = prop_oneof![
        Just("..".to_owned()),
        Just("/".into()),
        Just("\\".into()),
        Just("%2e%2e%2f".into()),
        Just("\r\nX-Injected: yes\r\n".into()),
        Just("\0".into()),
        Just("?#@:&=+ ".into()),
        Just("{guid}".into()),
        Just("'\";--".into()),
        Just("\u{202e}\u{feff}\u{2028}".into()),
        Just("a".into()),
        Just("~".into()),
    ];
    let piece = prop_oneof![2 => special, 1 => any::<String>(), 1 => "\\PC{0,8}", 1 => "[a-f0-9-]{1,36}"];
    prop_oneof![
        3 => prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
        1 => "\\PC{40,220}",
    ]
}

/// What the contract calls a GUID, said once more and in other words.
fn is_guid(id: &str) -> bool {
    (1..=200).contains(&id.len())
        && !id.starts_with('.')
        && id.chars().all(|c| !c.is_control() && c != '/' && c != '\\')
}

proptest! {
    #![proptest_config(Config { cases: 20_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn an_id_is_a_guid_as_the_contract_says_and_its_file_stays_in_the_destination(
        id in any_id(), fanout in 0u8..5, extension in prop_oneof![Just(""), Just(".jpg"), Just(".tar.gz")],
    ) {
        let guid = Guid::new(id.as_str().into());
        prop_assert_eq!(guid.is_ok(), is_guid(&id));
        let Ok(guid) = guid else { return Ok(()) };
        let layout = Layout { dest: "/dest".into(), extension: extension.into(), fanout };
        let file = layout.file(&guid);
        let parts: Vec<Component<'_>> = Path::new(&file).components().collect();
        prop_assert_eq!(parts.len(), usize::from(fanout) + 1, "{}", file);
        let mut lengths = Vec::new();
        for part in parts {
            let Component::Normal(name) = part else { panic!("{file:?} has {part:?} in it") };
            lengths.push(name.len());
        }
        prop_assert!(lengths.iter().all(|length| (1..=255).contains(length)), "{:?}", lengths);
        prop_assert!(!file.contains(['\0', '\r', '\n', '\\']));
        prop_assert!(!file.starts_with(".toller"));
        prop_assert_eq!(layout.path(&guid), Path::new("/dest").join(&file));
        prop_assert_eq!(layout.guid_of(Path::new(&file)), Some(guid), "a file leads back to its GUID");
    }

    #[test]
    fn a_guid_in_a_url_is_one_segment_and_nothing_else(id in any_id()) {
        let Ok(guid) = Guid::new(id.as_str().into()) else { return Ok(()) };
        let template = UrlTemplate::new("https://host.test/a/{guid}.jpg?x={guid}").unwrap();
        let url = template.url(&guid);
        let encoded = url.strip_prefix("https://host.test/a/").unwrap();
        let (name, again) = encoded.split_once(".jpg?x=").unwrap();
        prop_assert_eq!(name, again);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
        prop_assert!(name.chars().all(plain), "{}", url);
        let decoded = percent_encoding::percent_decode_str(name).decode_utf8();
        prop_assert_eq!(decoded.as_deref(), Ok(id.as_str()));
        let parsed = toller::origin::parse_url(&url).unwrap();
        prop_assert_eq!((parsed.host(), parsed.path()), (Some("host.test"), &*format!("/a/{name}.jpg")));
    }

    #[test]
    fn any_bytes_are_an_image_or_not_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), start in 0usize..12) {
        let _ = image::check(&[STARTS[start], &bytes].concat());
    }
}

/// How the bodies begin that the check looks into.
const STARTS: [&[u8]; 12] = [
    b"",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"GIF87a",
    b"GIF89a\x01\0\x01\0\x80\0\0",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"\0\0\0\x20ftypavif",
    b"BM",
    b"II*\0",
    b"MM\0*",
];

/// Images of the four forms that are proved whole.
fn whole() -> Vec<Vec<u8>> {
    let chunk = |name: &[u8], body: &[u8]| {
        let mut sum = flate2::Crc::new();
        sum.update(name);
        sum.update(body);
        [&(body.len() as u32).to_be_bytes(), name, body, &sum.sum().to_be_bytes()].concat()
    };
    let size = b"\0\0\0\x63\0\0\0\x5a\x08\0\0\0\0"; // 99 x 90
    let pixels = vec![7; 9000];
    let rows = [image_for(&guid(3)), pixels.clone()].concat();
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&rows[..9000]).unwrap();
    let packed = packed.finish().unwrap();
    let png =
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", size), chunk(b"IDAT", &packed), chunk(b"IEND", b"")].concat();
    let blocks: Vec<u8> = pixels.chunks(255).flat_map(|block| [&[block.len() as u8], block].concat()).collect();
    let gif = [b"GIF89a\x01\0\x01\0\0\0\0", &b",\0\0\0\0\x01\0\x01\0\0\x02"[..], &blocks, b"\0;"].concat();
    let vp8 = [b"\x10\0\0\x9d\x01\x2a\x01\0\x01\0", &pixels[..]].concat();
    let riff = ((vp8.len() + 12) as u32).to_le_bytes();
    let webp = [b"RIFF", &riff[..], b"WEBPVP8 ", &(vp8.len() as u32).to_le_bytes(), &vp8].concat();
    let images = vec![image_for(&guid(1)), image_for(&guid(2)), png, gif, webp];
    for image in &images {
        assert_eq!(image::check(image).map(|seen| seen.reach), Ok(Reach::Whole), "{:?}…", &image[..16]);
    }
    images
}

/// Changes a body as a line, a disk or a hostile hand would.
fn mutate(body: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..8) {
        let length = body.len();
        if length < 2 {
            return;
        }
        let at = random.usize(..length);
        let other = random.usize(..length);
        let (low, high) = (at.min(other), at.max(other));
        match random.u8(..9) {
            0 => body[at] ^= 1 << random.u8(..8),
            1 => body[at] = random.u8(..),
            2 => body[at] = *random.choice(&[0, 0xff, 0xd8, 0xd9, 0x7f, 0x80]).unwrap(),
            3 => body.truncate(at),
            4 => drop(body.drain(low..high)),
            5 => body.copy_within(low..high, length - (high - low)),
            6 => body[low..high].fill(random.u8(..)),
            7 => body.insert(at, random.u8(..)),
            // Lengths are where a reader goes wrong.
            _ => body[at.min(length - 2)..][..2].copy_from_slice(&random.u16(..).to_be_bytes()),
        }
    }
}

#[test]
fn fifty_megabytes_of_mutated_images_and_as_many_of_noise_cause_no_panic() {
    const ENOUGH: usize = 50_000_000;
    let (images, mut random) = (whole(), fastrand::Rng::with_seed(3));
    let start = own_time();
    let (mut mutated, mut noise, mut still_whole) = (0, 0, 0);
    while mutated < ENOUGH {
        let mut body = random.choice(&images).unwrap().clone();
        mutate(&mut body, &mut random);
        mutated += body.len();
        let judged = catch_unwind(|| image::check(&body).is_ok());
        still_whole += usize::from(judged.unwrap_or_else(|_| panic!("{} bytes: {body:02x?}", body.len())));
    }
    while noise < ENOUGH {
        let mut body = random.choice(STARTS).unwrap().to_vec();
        let length = random.usize(..40_000);
        body.extend(std::iter::repeat_with(|| random.u64(..).to_ne_bytes()).take(length / 8).flatten());
        noise += body.len().max(1);
        assert!(catch_unwind(|| image::check(&body).is_ok()).is_ok(), "{} bytes: {body:02x?}", body.len());
    }
    assert!(still_whole > 100, "the mutations are so rough that nothing deeper than the beginning is tried");
    let took = own_time().abs_diff(start);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn no_part_of_an_image_passes_for_the_whole() {
    for image in whole() {
        let step = (image.len() / 3000).max(1);
        for length in (0..image.len()).step_by(step).chain(image.len() - 40..image.len()) {
            assert_ne!(
                image::check(&image[..length]).map(|seen| seen.reach),
                Ok(Reach::Whole),
                "{length} of {} bytes",
                image.len()
            );
        }
    }
}

/// The processor's time that this thread has had.
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap()
}

#[test]
fn the_time_a_check_takes_grows_with_the_body_and_no_faster() {
    const SIZE: usize = 20_000_000;
    for (start, filler) in [
        (&b"\xff\xd8\xff"[..], &b"\xff"[..]),
        (b"\xff\xd8", b"\xff\xe0\0\x02"),
        (b"\xff\xd8", b"\xff\xc0\0\x02\xff\xda\0\x02"),
        (b"\xff\xd8\xff\xc0\0\x02\xff\xda\0\x02", b"\0\xff\0"),
        (b"\xff\xd8\xff\xc0\0\x02", b"\0"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\0IHDRcrc!", b"\0\0\0\0tEXtcrc!"),
        (b"GIF89a\x01\0\x01\0\0\0\0", b"!\xfe\0"),
        (b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02", b"\x01a"),
        (b"RIFF\xff\xff\xff\x7fWEBP", b"VP8X\0\0\0\0"),
        (b"RIFF\0\0\x30\x01WEBPVP8X\0\0\0\0", b"EXIF\0\0\0\0"),
        (b"II*\0\x08\0\0\0", b"\x08\0"),
        (b"\0\0\0\0ftypavif", b"avif"),
        (b"", b"<"),
        (b"", b" \n"),
    ] {
        let body = [start, &filler.repeat(SIZE / filler.len())].concat();
        // Of this thread's own time, whatever else the machine does.
        let begun = own_time();
        let _ = image::check(&body);
        let took = own_time().abs_diff(begun);
        assert!(took < Duration::from_secs(1), "{start:02x?} and {filler:02x?}: {took:?}");
    }
}

#[test]
fn hostile_ids_reach_neither_another_path_nor_another_header() {
    let mut runner = TestRunner::deterministic();
    let mut ids: BTreeSet<String> = (0..150).map(|_| any_id().new_tree(&mut runner).unwrap().current()).collect();
    let handmade =
        ["../escape", "..", ".", "/etc/passwd", "a/../../escape", "a\r\nX-Injected: yes", "x\0y", "C:\\x", "%2e%2e"];
    ids.extend(handmade.map(str::to_owned));
    ids.extend(["a HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /x".into(), "é".repeat(100), "é".repeat(101), String::new()]);
    let (env, origin) = (Env::new(), Origin::builder().small().start());
    env.warehouse_of(&ids.iter().filter(|id| !id.contains('\0')).collect::<Vec<_>>());
    for id in ids.iter().filter(|id| id.contains('\0')) {
        let parts: Vec<String> = id.split('\0').map(quoted).collect();
        env.sql(&format!("INSERT INTO dim_image VALUES ({}, false, NULL)", parts.join(" || chr(0) || ")));
    }
    let around: BTreeSet<_> =
        std::fs::read_dir(env.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let good: Vec<&String> = ids.iter().filter(|id| is_guid(id)).collect();
    assert!(good.len() > 20 && ids.len() - good.len() > 20, "{} of {} are good", good.len(), ids.len());

    let fetch = env.fetch(&origin).args(["--max-failure-rate", "100", "--progress", "lines", "-v"]);
    let out = fetch.run().expect(4);
    assert!(!out.stderr.contains("panicked"), "{}", out.report());
    env.assert_done(&good);
    assert_eq!(origin.request_count(), good.len());
    let host = format!("localhost:{}", origin.port());
    for request in origin.requests() {
        let names: BTreeSet<String> = request.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        let meant = ["accept", "accept-encoding", "host", "user-agent"].map(str::to_owned).into();
        assert_eq!(names, meant, "{}", request.path);
        assert_eq!((request.method.as_str(), request.header("Host")), ("GET", Some(&*host)));
        assert!(request.path.starts_with("/thumbs/") && request.path.matches('/').count() == 2, "{}", request.path);
    }
    let failed = env.query("SELECT DISTINCT kind, permanent FROM thumb_failure");
    assert_eq!(failed, [["bad_guid", "true"]]);
    assert_eq!(env.value("SELECT count(*) FROM thumb_failure"), (ids.len() - good.len()).to_string());
    let mut after: BTreeSet<_> = std::fs::read_dir(env.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    after.remove(std::ffi::OsStr::new("thumbs"));
    assert_eq!(after, around, "nothing was made outside of the destination");
    // And what the program prints of them cannot steer a terminal.
    let steering = |c: char| c.is_control() && c != '\n';
    assert!(!out.stderr.contains(steering) && !out.stdout.contains(steering), "{}", out.report());
}

#[test]
fn a_length_that_is_only_said_takes_no_memory() {
    let guids = guids(60);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    // Ninety gigabytes and two, of which a few bytes come.
    for (guid, length) in guids[40..].iter().zip([90_000_000_000, 2_000_000_000].into_iter().cycle()) {
        origin.on(guid, [Reply::image().claiming(length).closing(), Reply::image()]);
    }
    let fetch = env.fetch(&origin).args(["--max-bytes", "1000G", "--workers", "8", "--retries", "1"]);
    let out = fetch.under("bash", ["-c", "ulimit -v 2000000; exec \"$0\" \"$@\""]).run().expect(0);
    assert!(!out.stderr.contains("allocation"), "{}", out.report());
    env.assert_done(&guids);
}

#[test]
fn a_body_that_does_not_fit_into_memory_is_too_large_and_the_run_goes_on() {
    let guids = guids(20);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    origin.on(&guids[3], [Reply::image().claiming(90_000_000_000).endless()]);
    let fetch = env.fetch(&origin).args(["--max-bytes", "1000G", "--timeout", "60", "--workers", "1"]);
    fetch.under("bash", ["-c", "ulimit -v 1200000; exec \"$0\" \"$@\""]).run().expect(4);
    let failed = env.query("SELECT source_image_id, kind, permanent FROM thumb_failure");
    assert_eq!(failed, [[&*guids[3], "too_large", "true"]]);
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE thumb_downloaded"), "19");
}

#[test]
fn a_file_that_is_longer_than_max_bytes_is_not_read_but_fetched_again() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    let huge = env.write(&format!("thumbs/{}.jpg", guids[0]), image_for(&guids[0]));
    std::fs::File::options().write(true).open(huge).unwrap().set_len(1 << 41).unwrap();
    let fetch = env.fetch(&origin).args(["--json"]).under("bash", ["-c", "ulimit -v 2000000; exec \"$0\" \"$@\""]);
    let report = fetch.run().expect(0).json();
    assert_eq!((&report["fetched"], &report["reused"]), (&3.into(), &0.into()));
    env.assert_done(&guids);
}

#[test]
fn what_is_no_file_under_a_final_name_hangs_no_worker() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::builder().small().start());
    std::fs::create_dir(env.dest()).unwrap();
    assert!(env.program("mkfifo").arg(env.image(&guids[0])).try_run());
    drop(UnixListener::bind(env.image(&guids[1])).unwrap());
    symlink("/dev/zero", env.image(&guids[2])).unwrap();
    symlink(env.image(&guids[3]), env.image(&guids[3])).unwrap();
    // A link to what is mine is replaced, and what is mine stays as it is.
    let mine = env.write("mine.txt", "mine");
    symlink(&mine, env.image(&guids[4])).unwrap();
    // None of these holds anything, so a thumbnail takes their place.
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "mine");
}
