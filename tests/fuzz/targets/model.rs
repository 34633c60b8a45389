//! Model files: any bytes are read or refused, and what is read is written the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use twinbit_hashing::HashModel;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = HashModel::from_bytes(bytes) {
        let written = model.to_bytes();
        let again = HashModel::from_bytes(&written).expect("what was written is read");
        assert_eq!(again.id(), model.id());
    }
});
