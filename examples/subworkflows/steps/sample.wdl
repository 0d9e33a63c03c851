version 1.1

import "../tasks/sequence.wdl" as sequence

workflow sample {
  input {
    String name
    Int length
  }

  call sequence.make { input: name = name, length = length }
  call sequence.count { input: fasta = make.fasta }

  output {
    String summary = "~{name}: ~{count.gc} of ~{length} bases are G or C"
  }
}
