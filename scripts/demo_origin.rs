//! The origin of `scripts/demo.sh`: the test origin as a program, with as many distinct thumbnails as asked
//! for. It ends when its standard input does, so it never outlives the script that started it.
#![allow(dead_code, reason = "the demo needs only a part of what the tests do")]

#[path = "../tests/support/certs.rs"]
mod certs;
#[path = "../tests/support/origin.rs"]
mod origin;
#[path = "../tests/support/pictures.rs"]
mod pictures;
#[path = "../tests/support/reply.rs"]
mod reply;
#[path = "../tests/support/request.rs"]
mod request;
#[path = "../tests/support/wire.rs"]
mod wire;

use origin::Origin;
use reply::Reply;
use std::collections::HashSet;
use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const USAGE: &str = "usage: demo-origin --folder DIR [--count N] [--size real|small] [--port N] [--delay-ms N]
writes guids.txt, ca.pem and, once it listens, origin.url into DIR; /requests says how many it has had, and
/images how many of them it answered with an image";

struct Arguments {
    folder: PathBuf,
    count: usize,
    small: bool,
    port: u16,
    delay: Duration,
}

fn main() {
    let ended = parse(std::env::args().skip(1)).and_then(|arguments| serve(&arguments));
    if let Err(error) = ended {
        eprintln!("demo-origin: {error}\n{USAGE}");
        std::process::exit(1);
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let (mut folder, mut count, mut small, mut port, mut delay) = (None, 12_217, false, 0, 0);
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--folder" => folder = Some(PathBuf::from(value)),
            "--count" => count = value.parse()?,
            "--size" => small = value == "small",
            "--port" => port = value.parse()?,
            "--delay-ms" => delay = value.parse()?,
            _ => return Err(format!("{name} is not an option").into()),
        }
    }
    let folder = folder.ok_or("--folder is missing")?;
    Ok(Arguments { folder, count, small, port, delay: Duration::from_millis(delay) })
}

fn serve(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let guids = pictures::guids(arguments.count);
    // Encodes the pictures now, rather than during the first requests.
    let image = if arguments.small { pictures::small_image_for } else { pictures::image_for };
    let bytes: usize = guids.iter().map(|guid| image(guid).len()).sum();
    std::fs::create_dir_all(&arguments.folder)?;
    std::fs::write(arguments.folder.join("guids.txt"), guids.join("\n") + "\n")?;
    let known: HashSet<String> = guids.into_iter().collect();
    let builder = Origin::builder().port(arguments.port);
    let origin = if arguments.small { builder.small() } else { builder }.start();
    let delay = arguments.delay;
    let (asked, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    origin.always(move |request| {
        // How a script learns what its runs cost; asking does not count.
        let counter = match request.path.as_str() {
            "/requests" => Some(&asked),
            "/images" => Some(&answered),
            _ => None,
        };
        if let Some(counter) = counter {
            return Reply::bytes(200, "text/plain", format!("{}\n", counter.load(Ordering::Relaxed)));
        }
        asked.fetch_add(1, Ordering::Relaxed);
        if !known.contains(&request.guid) {
            return Reply::status(404).after(delay);
        }
        answered.fetch_add(1, Ordering::Relaxed);
        Reply::image().after(delay)
    });
    std::fs::write(arguments.folder.join("ca.pem"), certs::ca_pem())?;
    // Whoever waits for this file finds everything else in place.
    let unfinished = arguments.folder.join(".origin.url");
    std::fs::write(&unfinished, format!("{}\n", origin.template()))?;
    std::fs::rename(unfinished, arguments.folder.join("origin.url"))?;
    println!(
        "demo-origin: {} thumbnails, {} bytes each on average, at {}",
        arguments.count,
        bytes / arguments.count.max(1),
        origin.template()
    );
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
