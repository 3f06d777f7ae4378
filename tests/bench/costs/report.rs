//! What is printed: a table, and a verdict for each target.

use std::fmt::Arguments;

/// How much time a run may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    Quick,
    Normal,
}

impl Effort {
    pub fn of<T>(self, quick: T, normal: T) -> T {
        if self == Effort::Quick { quick } else { normal }
    }
}

#[derive(Default)]
pub struct Report {
    met: usize,
    missed: usize,
}

impl Report {
    pub fn heading(&self, what: &str, target: &str) {
        println!("\n{what}\n    target: {target}");
    }

    pub fn line(&self, text: Arguments<'_>) {
        println!("          {text}");
    }

    /// A line that says whether a target is met.
    pub fn verdict(&mut self, met: bool, text: Arguments<'_>) {
        *(if met { &mut self.met } else { &mut self.missed }) += 1;
        println!("{:<10}{text}", if met { "met" } else { "NOT MET" });
    }

    pub fn summary(&self) {
        println!("\n{} targets met, {} not met", self.met, self.missed);
    }
}
