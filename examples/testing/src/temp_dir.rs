//! A directory of a test's own.

use std::path::PathBuf;

/// A directory with this name and no other's, removed when dropped. Not made by this.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("conncache-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        TempDir(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The file with this name, if it is there.
    pub fn read(&self, name: impl ToString) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(name.to_string())).ok()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
