//! The words every stage is written in: ids, sizes, byte ranges, relative paths,
//! random-access reads, patches and progress. Nothing here touches the disk.

mod attributes;
mod blank;
mod id;
mod meter;
mod patch;
mod progress;
mod range;
mod read_at;
mod rel_path;
mod size;
mod time;

pub use attributes::Attributes;
pub(crate) use blank::is_blank;
pub use id::{CanonicalId, ContentId, DiskId, ParseIdError};
pub use meter::{IoMeter, IoTotals};
pub use patch::{Patch, Payload, Write};
pub use progress::{Cancelled, Progress, Run, Silent};
pub use range::ByteRange;
pub use read_at::{Patched, ReadAt};
pub(crate) use rel_path::fold_letters;
pub use rel_path::{BadRelPath, RelPath, fold_case};
pub use size::VirtualSize;
pub use time::FileTime;
