version 1.1

import "steps/sample.wdl" as steps
import "tasks/text.wdl" as text

workflow cohort {
  input {
    Array[String] samples
    Int length = 60
  }

  scatter (name in samples) {
    call steps.sample { input: name = name, length = length }
  }

  call text.join { input: lines = sample.summary }

  output {
    File report = join.joined
    Array[String] summaries = sample.summary
  }
}
