//! The two ledgers of a run, side by side: the warehouse, and standard streams.

mod page;
mod patience;
mod printer;
mod spacing;
mod streams;
mod warehouse;

pub use page::hash;
pub use streams::StreamLedger;
pub use warehouse::{Beginning, FirstLook, WarehouseLedger, look};
