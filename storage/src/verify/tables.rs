//! The catalog's own files: manifest, logs, and every block of every table.

use super::VerifyReport;
use crate::beside_writer::beside_the_writer;
use crate::catalog::Catalog;
use crate::error::Error;
use crate::layout::Layout;

/// Reads them through a second handle, which has nothing of them in memory.
pub(super) fn verify(layout: &Layout) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport::default();
    let opened = beside_the_writer(layout, || Catalog::open_for_check(&layout.catalog));
    let Some((catalog, log)) = report.note(opened)? else {
        return Ok(report);
    };
    let mut damaged: Vec<_> = log.into_iter().collect();
    (report.files, report.bytes) = catalog.read_tables(&mut |error| damaged.push(error))?;
    for error in damaged {
        let mut found = VerifyReport::default();
        found.note::<()>(Err(error))?;
        report.append(found);
    }
    Ok(report)
}
