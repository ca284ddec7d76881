//! What every test stands on: a folder of its own, the real binary, and an origin on real sockets.
#![allow(dead_code, unused_imports, reason = "a support layer has more to offer than today's tests use")]

pub mod certs;
pub mod command;
pub mod env;
pub mod origin;
pub mod pictures;
pub mod proxy;
pub mod reply;
pub mod request;
pub mod wire;

pub use certs::{Tls, client_pem};
pub use command::{Cmd, Out, Running};
pub use env::{Env, OldDuckDb, binary, duckdbs, eventually, python};
pub use origin::{Origin, PATIENCE, listener, steady_port};
pub use pictures::{guid, guids, image_for, small_image_for};
pub use proxy::Proxy;
pub use reply::{End, Reply};
pub use request::Request;
