//! A file that is written aside, and gets its name only when it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Until [`finish`](PartFile::finish) its name ends in `.part`. Dropped before that, it is removed.
#[derive(Debug)]
pub struct PartFile {
    /// `None` once it is complete.
    file: Option<File>,
    path: PathBuf,
}

impl PartFile {
    /// Creates it, to be called `path` in the end.
    pub fn create(path: &Path) -> io::Result<PartFile> {
        let file = File::create(aside(path))?;
        Ok(PartFile { file: Some(file), path: path.to_owned() })
    }

    /// Appends these bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    /// Gives it its name. A file that has this name already is replaced.
    pub fn finish(mut self) -> io::Result<()> {
        fs::rename(aside(&self.path), &self.path)?;
        self.file = None;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(aside(&self.path));
        }
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
